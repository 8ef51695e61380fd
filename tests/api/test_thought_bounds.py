"""How long a model may think by its registry: by effort, by default, and at most."""

from typing import Any, Final

import httpx
import pytest

from engines.base import Reasoning
from engines.registry.spec import ThoughtBounds
from server.api.chat.thinking import budget_of
from server.api.chat.wire_thinking import BudgetFields
from tests.support.serving import Served, read_records, scripted, server_of
from tests.support.wire_checks import assert_error

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, OLLAMA = "/v1/messages", "/api/chat"
SAID: Final = [{"role": "user", "content": "Hi you"}]
ASK: Final[dict[str, dict[str, Any]]] = {
    CHAT: {"messages": SAID},
    RESPONSES: {"input": "Hi you"},
    MESSAGES: {"messages": SAID, "max_tokens": 100},
    OLLAMA: {"messages": SAID},
}
THOUGHT, REST = 8, 3
"""Tokens: the scripted thought, and two words with the end behind it."""
BOUNDS: Final = ThoughtBounds(budgets={"low": 1, "high": 6}, default=4, most=7)
OF: Final[dict[str, Any]] = {
    "text": "done now",
    "reasoning_text": "a b c d e f g h",
    "reasoning": Reasoning(),
}

served = server_of(
    scripted("bounded", **OF, thought_bounds=BOUNDS),
    scripted("capped", **OF, thought_bounds=ThoughtBounds(most=7)),
    scripted("by-effort", **OF, thought_bounds=ThoughtBounds(budgets={"none": 0, "low": 1})),
    scripted(
        "switched",
        **OF,
        reasoning_efforts={"none": {"enable_thinking": False}, "max": {"hard": True}},
        thought_bounds=BOUNDS,
    ),
    scripted("plain", text="done now"),
)
everywhere = pytest.mark.parametrize("path", ASK)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
SAYING: Final[dict[str, Any]] = {
    CHAT: lambda effort: {"reasoning_effort": effort},
    RESPONSES: lambda effort: {"reasoning": {"effort": effort}},
    MESSAGES: lambda effort: {"output_config": {"effort": effort}},
    OLLAMA: lambda effort: {"think": effort},
}


def thought(
    client: httpx.Client, served: Served, path: str, model: str, stream: bool = False, **fields: Any
) -> int:
    """Tokens of the thought, by what was billed."""
    body = ASK[path] | {"model": model, "stream": stream} | fields
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return int(read_records(served.data_dir)[-1]["completion_tokens"]) - REST


@both_ways
@everywhere
def test_every_request_has_the_alias_bounds(
    client: httpx.Client, served: Served, path: str, stream: bool
) -> None:
    assert thought(client, served, path, "bounded", stream) == 4
    assert thought(client, served, path, "capped", stream) == 7
    assert thought(client, served, path, "by-effort", stream) == THOUGHT


@both_ways
@pytest.mark.parametrize("path", SAYING)
def test_an_effort_has_its_budget(
    client: httpx.Client, served: Served, path: str, stream: bool
) -> None:
    for effort, tokens in BOUNDS.budgets.items():
        said = SAYING[path](effort)
        assert thought(client, served, path, "bounded", stream, **said) == tokens
        assert thought(client, served, path, "switched", stream, **said) == tokens
    if path != OLLAMA:  # which knows no more than high
        assert thought(client, served, path, "switched", stream, **SAYING[path]("max")) == 4
        assert thought(client, served, path, "by-effort", stream, **SAYING[path]("none")) == 0


def test_openrouters_effort_has_it_too(client: httpx.Client, served: Served) -> None:
    assert thought(client, served, CHAT, "bounded", reasoning={"effort": "low"}) == 1


@both_ways
@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_a_request_s_own_budget_counts_first_and_stays_below_the_most(
    client: httpx.Client, served: Served, path: str, stream: bool
) -> None:
    for asked in (0, 5, 7):
        told = {"thinking_token_budget": asked}
        assert thought(client, served, path, "bounded", stream, **told) == asked
        if path in SAYING:
            told |= SAYING[path]("low")
            assert thought(client, served, path, "bounded", stream, **told) == asked
    assert thought(client, served, path, "bounded", stream, thinking_token_budget=-1) == 7
    for asked in (8, 2**31 - 1):
        body = ASK[path] | {"model": "bounded", "thinking_token_budget": asked, "stream": stream}
        refused = client.post(path, json=body)
        assert refused.status_code == 400
        assert "at most 7" in refused.text


@pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
def test_above_the_most_is_refused_in_every_word(client: httpx.Client, path: str) -> None:
    config = {"thinking": {"type": "enabled", "budget_tokens": 8}}
    refused = client.post(path, json=ASK[path] | {"model": "bounded"} | config)
    assert refused.status_code == 400
    assert "thinking.budget_tokens is 8" in refused.text


def test_a_prompt_of_completions_has_them_too(client: httpx.Client) -> None:
    """The scripted engine thinks in chats alone."""
    spec = scripted("bounded", **OF, thought_bounds=BOUNDS)
    for asked, tokens in ((None, 4), (-1, 7), (0, 0), (7, 7)):
        budget = budget_of(BudgetFields(thinking_token_budget=asked), spec)
        assert budget is not None
        assert (budget.tokens, budget.is_asked) == (tokens, asked not in (None, -1))
    body = {"model": "bounded", "prompt": "Hi", "thinking_budget": 8}
    assert_error(client.post(COMPLETIONS, json=body), 400, "INVALID_PARAMETER", "thinking_budget")


def test_what_is_turned_off_has_no_thought(client: httpx.Client, served: Served) -> None:
    for fields in ({"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}):
        assert thought(client, served, CHAT, "bounded", **fields) == 0
        assert thought(client, served, CHAT, "by-effort", **fields) == 0
    assert thought(client, served, CHAT, "by-effort", reasoning_effort="none") == 0


def test_an_effort_that_the_alias_has_not_is_refused_with_those_it_has(
    client: httpx.Client,
) -> None:
    body = ASK[CHAT] | {"model": "switched", "reasoning_effort": "medium"}
    refused = client.post(CHAT, json=body)
    assert_error(refused, 400, "INVALID_PARAMETER", "reasoning_effort")
    assert refused.json()["error"]["details"]["expected"] == "none, max, low, high"
    assert client.post(MESSAGES, json=ASK[MESSAGES] | {
        "model": "switched", "output_config": {"effort": "medium"}
    }).status_code == 200  # fmt: skip


def test_a_model_that_does_not_think_needs_none(client: httpx.Client) -> None:
    assert client.post(CHAT, json=ASK[CHAT] | {"model": "plain"}).status_code == 200


def test_the_details_of_models_tell_them(client: httpx.Client) -> None:
    listed = client.get("/v1/models?details=true").json()["data"]
    told = {m["id"]: (m["reasoning_efforts"], m["thought_tokens"]) for m in listed}
    assert told["bounded"] == (["low", "high"], {"low": 1, "high": 6, "default": 4, "most": 7})
    assert told["switched"][0] == ["none", "max", "low", "high"]
    assert told["plain"] == ([], {})
