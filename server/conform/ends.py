"""Checks: every field with a range, at both its ends and beyond, whole and streamed."""

from typing import Any

from server.conform import expect
from server.conform.check import Check
from server.conform.target import CHAT, COMPLETIONS, Target

ENDS: tuple[tuple[str, str, tuple[Any, ...], tuple[Any, ...]], ...] = (
    ("field-temperature", "temperature", (0, 1e-320, 1e-40, 2), (-0.01, 2.01, True)),
    ("field-top-p", "top_p", (0, 1e-320, 1), (-0.01, 1.01, "1")),
    ("field-penalties", "presence_penalty", (-2, 2), (-2.01, 2.01, False)),
    ("field-penalties", "frequency_penalty", (-2, 2), (-2.01, 2.01, [])),
    ("field-extensions", "repetition_penalty", (0.01, 2), (0, 1e-320, -1, 2.01)),
    ("field-extensions", "min_p", (0, 1), (-0.01, 1.01)),
    ("field-extensions", "top_k", (-1, 0, 1, 2**31 - 1), (-2, 2**31, 1.5)),
    ("field-extensions", "min_tokens", (0, 2), (-1, 2**31)),
    ("field-seed", "seed", (-(2**63), -1, 0, 2**63 - 1), (-(2**63) - 1, 2**63, 0.5)),
    ("field-n", "n", (1, 2), (0, -1, 17, True)),
    ("field-max-tokens", "max_tokens", (1,), (0, -1, 2**63, True)),
    ("field-logit-bias", "logit_bias", ({}, {"1": -100}, {"1": 100}), ({"1": 100.1}, {"a": 1})),
    ("field-stop-most", "stop", ([], ["never said"] * 16), (["x"] * 17, [""], [1], {})),
)
_DOCUMENTED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens")


def _both_ends(rule: str, field: str, taken: tuple[Any, ...], refused: tuple[Any, ...]) -> Check:
    def run(t: Target) -> None:
        for value in taken:
            fields = {"max_tokens": 2, field: value}
            expect.status(t.chat(**fields), 200)
            streamed = t.stream(CHAT, **fields)
            expect.status(streamed, 200)
            expect.that(bool(streamed.finish_reason()), f"a finish_reason ({value})", streamed.text)
        for value in refused:
            _refused(t.chat(**{field: value}), field)
            with t.opened(CHAT, **{field: value}) as answer:
                answer.read()
                _refused(answer, field)
            body = {"model": t.model, "prompt": "Hi", field: value}
            _refused(t.post(COMPLETIONS, body), field)

    return Check(
        id=f"ends.{field}",
        title=f"{field} at both ends is taken, whole and streamed; beyond: 400 naming it",
        source="documented" if field in _DOCUMENTED else "declared",
        rule=rule,
        run=run,
    )


BOTH_ENDS = tuple(_both_ends(*row) for row in ENDS)


def _refused(answer: Any, field: str) -> None:
    error = expect.refused(answer, 400, "INVALID_PARAMETER")
    expect.that(str(error.get("param")).startswith(field), f"error.param {field}", error)
