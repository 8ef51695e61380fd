"""Checks: what a request says of thinking, in each client's words."""

from typing import Any

from server.conform import expect
from server.conform.check import declared
from server.conform.reasoning import asked, reasoned
from server.conform.target import COMPLETIONS, FIXED, MODELS, RESPONSES, Target
from server.conform.unmet import Skipped

BUDGETS = (
    "thinking_token_budget", "thinking_budget", "thinking_budget_tokens", "reasoning_budget",
    "reasoning_budget_tokens",
)  # fmt: skip
MARKS = 2
"""Of a thought: its tokens are not in the budget, and are counted."""


@declared("field-thinking-budget")
def budget(t: Target) -> None:
    """A thought has no more tokens than its budget, by each of its names"""
    before = _thought_tokens(reasoned(t))
    asks: list[dict[str, Any]] = [{name: 1} for name in BUDGETS]
    asks.append({"thinking": {"type": "enabled", "budget_tokens": 1}})
    for fields in (*asks, {"reasoning": {"max_tokens": 1}}):
        answer = t.chat(**asked(t), **fields)
        t.unless_refused(answer, "budget on this model's thoughts")
        tokens = _thought_tokens(expect.ok(answer))
        expect.that(tokens <= min(before, 1 + MARKS), "a token, and the marks", tokens)


@declared("field-thinking-budget")
def no_budget(t: Target) -> None:
    """A budget of 0 leaves no trace; -1 and null are none"""
    reasoned(t)
    answer = t.chat(**asked(t), thinking_token_budget=0)
    t.unless_refused(answer, "budget on this model's thoughts")
    message = expect.choice(answer)["message"]
    expect.that(not message.get("reasoning_content"), "no trace", message)
    for none in (-1, None):
        expect.ok(t.chat(**asked(t), thinking_token_budget=none))


@declared("field-thinking-budget")
def budget_ranges(t: Target) -> None:
    """A budget below -1, or that is no integer: 400 naming it, on every endpoint that generates"""
    for path, body in ((COMPLETIONS, {"prompt": "Hi"}), (RESPONSES, {"input": "Hi"})):
        _refused(t.post(path, {"model": t.model, "thinking_token_budget": -2} | body), BUDGETS[0])
    for name in BUDGETS:
        for value in (-2, True, "1", 1.5):
            _refused(t.chat(**{name: value}), name)


@declared("field-thinking-most")
def most_of_a_thought(t: Target) -> None:
    """A budget above the model's most: 400 naming it; -1 is the most"""
    most = _bounds(t).get("most")
    if most is None:
        raise Skipped("nothing bounds this model's thoughts")
    for fields, name in (
        ({"thinking_token_budget": most + 1}, BUDGETS[0]),
        ({"thinking": {"type": "enabled", "budget_tokens": most + 1}}, "thinking.budget_tokens"),
        ({"reasoning": {"max_tokens": most + 1}}, "reasoning.max_tokens"),
    ):
        _refused(t.chat(**asked(t), **fields), name)
    for taken in (most, -1):
        tokens = _thought_tokens(expect.ok(t.chat(**asked(t), thinking_token_budget=taken)))
        expect.that(tokens <= most + MARKS, f"at most {most}, and the marks", tokens)


@declared("field-thinking-most")
def budget_of_an_effort(t: Target) -> None:
    """An effort with a budget has thoughts of no more tokens; the request's own counts before it"""
    bounds = _bounds(t)
    efforts = [effort for effort in bounds if effort not in ("default", "most")]
    if not efforts:
        raise Skipped("no effort of this model has a budget")
    for effort in efforts:
        for said in ({"reasoning_effort": effort}, {"reasoning": {"effort": effort}}):
            tokens = _thought_tokens(expect.ok(t.chat(**asked(t), **said)))
            expect.that(tokens <= bounds[effort] + MARKS, f"at most {bounds[effort]}", tokens)
        own = t.chat(**asked(t), reasoning_effort=effort, thinking_token_budget=0)
        expect.that(_thought_tokens(expect.ok(own)) <= MARKS, "no thought", own.json())


@declared("field-thinking")
def thinking(t: Target) -> None:
    """thinking disabled, and reasoning.enabled false, leave no trace"""
    for fields in ({"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}):
        answer = t.chat(**asked(t), **fields)
        t.unless_refused(answer, "way to turn this model's thoughts off")
        message = expect.choice(answer)["message"]
        expect.that(not message.get("reasoning_content"), "no trace", message)


@declared("field-thinking")
def words_that_differ(t: Target) -> None:
    """Two of the fields that say different things: 400 naming one"""
    for fields, name in (
        ({"thinking": {"type": "disabled"}, "enable_thinking": True}, "enable_thinking"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": True}, "thinking"),
        ({"include_reasoning": True, "reasoning": {"exclude": True}}, "reasoning.exclude"),
    ):
        _refused(t.chat(**fields), name)


@declared("field-include-reasoning")
def hidden_trace(t: Target) -> None:
    """include_reasoning false, or reasoning.exclude, shows no trace and counts it all the same"""
    tokens = _thought_tokens(reasoned(t))
    for fields in ({"include_reasoning": False}, {"reasoning": {"exclude": True}}):
        body = expect.ok(t.chat(**asked(t), **fields))
        message = body["choices"][0]["message"]
        shown = message.get("reasoning_content") or body.get("model_output_metadata")
        expect.that(not shown, "no trace", body)
        expect.that(_thought_tokens(body) > 0 and tokens > 0, "reasoning_tokens", body["usage"])
        streamed = t.stream(**asked(t), **fields)
        expect.equal("reasoning_content", streamed.joined("reasoning_content"), "")


@declared("field-verbosity")
def verbosity(t: Target) -> None:
    """verbosity medium is taken, and low where the model's template knows it: else 400 naming it"""
    expect.content(t.chat(**FIXED, verbosity="medium"))
    answer = t.chat(**FIXED, verbosity="low")
    if answer.status_code != 200:
        _refused(answer, "verbosity")
    _refused(t.chat(verbosity="huge"), "verbosity")


def _bounds(t: Target) -> dict[str, int]:
    """What the server tells of the model's thoughts."""
    reasoned(t)
    listed = expect.ok(t.get(f"{MODELS}?details=true"))["data"]
    told = [m.get("thought_tokens") for m in listed if m["id"] == asked(t)["model"]]
    return told[0] or {} if told else {}


def _thought_tokens(body: Any) -> int:
    details = body["usage"].get("completion_tokens_details") or {}
    return int(details.get("reasoning_tokens", 0))


def _refused(answer: Any, name: str) -> None:
    error = expect.refused(answer, 400, "INVALID_PARAMETER")
    expect.equal("error.param", error.get("param"), name)
