"""Forms are tried apart before vLLM's engine has them: what costs too much is a 400."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from engines.base import EngineDead, EngineOverloaded, EngineUnavailable, InvalidRequest
from engines.testing.tiny import make_llama
from engines.vllm import form_trial
from engines.vllm.form_trial import DEFAULT_COMPILE_S, FormTrials, compile_limit_s
from engines.vllm.json_grammar import json_grammar

AMBIGUOUS = 'root ::= root root root | "a" | [a-z] | root "b" root | ""\n'
pytestmark = pytest.mark.vllm


def form(**given: Any) -> Any:
    nothing = dict.fromkeys(("regex", "grammar", "structural_tag", "choice"))
    return SimpleNamespace(**(nothing | given))


def of_schema(schema: Any) -> Any:
    return form(grammar=json_grammar(schema, "response_format"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = make_llama(tmp_path_factory.mktemp("tiny"))
    warming = json_grammar({"type": "string", "maxLength": 100}, "schema")
    return {"path": str(folder), "revision": None, "trust_remote_code": False,
            "vocab_size": 259, "warming": warming}  # fmt: skip


@pytest.fixture(scope="module")
def trials(place: dict[str, Any]) -> Iterator[FormTrials]:
    trials = FormTrials(place, DEFAULT_COMPILE_S)
    yield trials
    trials.close()


def checked(trials: FormTrials, outputs: Any) -> str | None:
    """Its complaint."""

    async def check() -> None:
        await trials.check(outputs, "structured_outputs", False)

    try:
        asyncio.run(check())
    except InvalidRequest as error:
        return f"{error.param}: {error}"
    return None


TAG = '{"type": "structural_tag", "format": {"type": "regex", "pattern": "[a-z]{9}"}}'


@pytest.mark.parametrize(
    "outputs",
    [
        form(regex="[a-z]{1,9999}"),
        form(choice=["yes", 'n"o\\ é']),
        form(grammar='root ::= "a" | [b-c]+\n'),
        form(grammar='start: "a" | /[b-c]+/\n'),
        form(structural_tag=TAG),
        {"type": "string", "maxLength": 10_000},
        {"properties": {f"p{i}": {"type": "string"} for i in range(300)}},
    ],
)
def test_what_people_write_passes(trials: FormTrials, outputs: Any) -> None:
    assert checked(trials, of_schema(outputs) if isinstance(outputs, dict) else outputs) is None


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (form(grammar=AMBIGUOUS), "too ambiguous"),
        (form(regex="(a"), "cannot be compiled"),
        (form(grammar='root ::= "a" | nothing\n'), "cannot be compiled"),
    ],
)
def test_what_costs_every_stream_is_refused(trials: FormTrials, outputs: Any, words: str) -> None:
    complaint = checked(trials, outputs)
    assert complaint is not None
    assert complaint.startswith("structured_outputs: structured_outputs ")
    assert words in complaint


def test_a_form_that_takes_too_long_is_refused_once_and_remembered(place: Any) -> None:
    trials = FormTrials(place, 0.05)
    for _ in range(2):
        complaint = str(checked(trials, form(grammar=AMBIGUOUS)))
        assert "takes more than 0.05 s to compile; right would be" in complaint
    trials.close()


def test_only_forms_that_may_cost_something_are_tried() -> None:
    trials = FormTrials({"path": "nowhere"}, 1.0)
    plain = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    bounded = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}}

    async def check(schema: Any) -> None:
        await trials.check(of_schema(schema), "response_format", True)

    asyncio.run(check(plain))
    for _ in range(2):  # its child does not start, and nobody waits for another start at once
        with pytest.raises(EngineOverloaded, match="cannot be checked now") as refused:
            asyncio.run(check(bounded))
        assert refused.value.retry_after_s == 10
    trials.close()


def test_a_stop_ends_a_trial(place: Any) -> None:
    async def stopped() -> None:
        trials = FormTrials(place, 60.0)
        asked = asyncio.create_task(trials.check(form(grammar=AMBIGUOUS), "f", False))
        await asyncio.sleep(0)
        await asyncio.to_thread(trials.close)
        with pytest.raises(EngineDead):
            await asked

    asyncio.run(stopped())


def test_a_child_that_nobody_asks_ends_and_comes_again(place: Any) -> None:
    async def asked_twice() -> None:
        trials = FormTrials(place, DEFAULT_COMPILE_S, idle_s=0.1)
        assert trials._child._child is None  # a server without forms pays for none
        await trials.check(form(regex="a"), "f", False)
        child = trials._child._child
        assert child is not None
        await asyncio.to_thread(psutil.Process(child.pid).wait, 10)
        await trials.check(form(regex="b"), "f", False)
        assert trials._child._child is not None
        await asyncio.to_thread(trials.close)

    asyncio.run(asked_twice())


def test_others_forms_keep_nobody_waiting_for_ever(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_trial, "_WAIT_S", 0.0)

    async def waiting() -> None:
        trials = FormTrials(place, 0.01)
        with pytest.raises(EngineOverloaded):
            await trials.check(form(regex="a"), "f", False)
        await asyncio.to_thread(trials.close)

    asyncio.run(waiting())


@pytest.mark.parametrize("limit", [0.1, 1, 600])
def test_the_limit_is_an_engine_argument(limit: float) -> None:
    assert compile_limit_s({"form_compile_s": limit}) == limit
    assert compile_limit_s({}) == DEFAULT_COMPILE_S


@pytest.mark.parametrize("limit", [0, -1, 601, True, "5", None, float("nan")])
def test_a_limit_that_is_none_stops_the_start(limit: Any) -> None:
    with pytest.raises(EngineUnavailable, match="form_compile_s is"):
        compile_limit_s({"form_compile_s": limit})
