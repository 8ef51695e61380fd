"""What clients say of thinking, in each of their words: a budget, a switch, whether it is shown."""

import json
from typing import Any, Final

import httpx
import pytest

from engines.base import Reasoning
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error, events

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
TOKENIZE: Final = "/v1/tokenize"
SAID = [{"role": "user", "content": "Hi you"}]
ASK: dict[str, dict[str, Any]] = {
    CHAT: {"model": "thinks", "messages": SAID},
    RESPONSES: {"model": "thinks", "input": "Hi you"},
}
TRACE, TEXT = "one two three four", "done now"
BUDGETS: Final = (
    "thinking_token_budget", "thinking_budget", "thinking_budget_tokens", "reasoning_budget",
    "reasoning_budget_tokens",
)  # fmt: skip
OFF: Final = {"none": {"enable_thinking": False}}

served = server_of(
    scripted("thinks", text=TEXT, reasoning_text=TRACE, reasoning=Reasoning()),
    scripted(
        "switched", text=TEXT, reasoning_text=TRACE, reasoning=Reasoning(), reasoning_efforts=OFF
    ),
    scripted("plain", text=TEXT),
    scripted("verbose", chat_template_kwargs={"verbosity": "medium"},
             free_chat_template_kwargs=("verbosity",)),
)  # fmt: skip
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
everywhere = pytest.mark.parametrize("path", ASK)


def trace_and_usage(
    client: httpx.Client, path: str, stream: bool, **fields: Any
) -> tuple[str, dict[str, Any]]:
    """The trace's words as they are shown, and the usage."""
    body = ASK[path] | {"stream": stream} | fields
    if stream and path == CHAT:
        body["stream_options"] = {"include_usage": True}
    r = client.post(path, json=body)
    assert r.status_code == 200, r.text
    if path == RESPONSES:
        last = r.text.rstrip().rsplit("data: ", 1)[-1]
        whole = json.loads(last)["response"] if stream else r.json()
        shown = [i["content"][0]["text"] for i in whole["output"] if i["type"] == "reasoning"]
        return "".join(shown), whole["usage"]
    if not stream:
        message = r.json()["choices"][0]["message"]
        return message.get("reasoning_content", ""), r.json()["usage"]
    chunks = events(r.text)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(d.get("reasoning_content", "") for d in deltas), chunks[-1]["usage"]


@both_ways
@everywhere
@pytest.mark.parametrize("tokens", [0, 1, 3, 4, 5, 2**31 - 1, -1, None])
def test_a_thought_has_no_more_tokens_than_its_budget(
    client: httpx.Client, path: str, stream: bool, tokens: int | None
) -> None:
    kept = 4 if tokens is None or tokens < 0 else min(tokens, 4)
    for name in BUDGETS:
        trace, usage = trace_and_usage(client, path, stream, **{name: tokens})
        assert len(trace.split()) == kept
        said = usage["completion_tokens" if path == CHAT else "output_tokens"]
        assert said == kept + 3, "two words, and the end"


@both_ways
@everywhere
@pytest.mark.parametrize("name", BUDGETS)
@pytest.mark.parametrize("value", [-2, 2**31, True, False, "1", 1.5, [1], {}])
def test_a_budget_is_a_whole_number(
    client: httpx.Client, path: str, stream: bool, name: str, value: Any
) -> None:
    for where, body in (*ASK.items(), (COMPLETIONS, {"model": "thinks", "prompt": "Hi"})):
        r = client.post(where, json=body | {name: value, "stream": stream})
        assert_error(r, 400, "INVALID_PARAMETER", name)


@both_ways
@pytest.mark.parametrize("name", BUDGETS)
def test_a_model_that_does_not_think_has_no_budget(
    client: httpx.Client, name: str, stream: bool
) -> None:
    for path, body in (*ASK.items(), (COMPLETIONS, {"prompt": "Hi"})):
        asked = body | {"model": "plain", "stream": stream}
        for tokens in (0, 1):
            assert_error(
                client.post(path, json=asked | {name: tokens}), 400, "INVALID_PARAMETER", name
            )
        assert client.post(path, json=asked | {name: -1}).status_code == 200
        assert client.post(path, json=asked | {name: None}).status_code == 200


@both_ways
@everywhere
@pytest.mark.parametrize("model", ["thinks", "switched"])
@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 2}},
        {"thinking": {"type": "auto", "budget_tokens": 2}},
        {"thinking": {"type": "adaptive"}, "thinking_token_budget": 2},
        {"reasoning": {"max_tokens": 2}},
        {"reasoning": {"enabled": True, "max_tokens": 2}},
        {"reasoning": {"max_tokens": 2}, "thinking": {"type": "enabled", "budget_tokens": 2}},
        {"enable_thinking": True, "thinking_budget": 2, "thinking_token_budget": 2},
    ],
)
def test_it_is_bounded_in_every_word(
    client: httpx.Client, path: str, stream: bool, model: str, fields: dict[str, Any]
) -> None:
    trace, _ = trace_and_usage(client, path, stream, model=model, **fields)
    assert trace.split() == ["one", "two"]


@both_ways
@everywhere
@pytest.mark.parametrize(
    "fields",
    [{"thinking": {"type": "disabled"}}, {"reasoning": {"enabled": False}}],
)
def test_where_no_effort_turns_it_off_the_budget_does(
    client: httpx.Client, path: str, stream: bool, fields: dict[str, Any]
) -> None:
    assert trace_and_usage(client, path, stream, **fields)[0] == ""
    assert trace_and_usage(client, path, stream, model="plain", **fields)[0] == ""


@both_ways
@everywhere
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"thinking": {"type": "enabled"}}, "thinking.type"),
        ({"reasoning": {"enabled": True}}, "reasoning.enabled"),
        ({"thinking": {"type": "auto", "budget_tokens": 1}}, "thinking.budget_tokens"),
        ({"reasoning": {"max_tokens": 0}}, "reasoning.max_tokens"),
    ],
)
def test_what_does_not_think_cannot_be_made_to(
    client: httpx.Client, path: str, stream: bool, fields: dict[str, Any], field: str
) -> None:
    r = client.post(path, json=ASK[path] | {"model": "plain", "stream": stream} | fields)
    assert_error(r, 400, "INVALID_PARAMETER", field)


@both_ways
@everywhere
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"thinking_token_budget": 1, "thinking_budget": 2}, "thinking_budget"),
        ({"thinking_token_budget": 1, "reasoning": {"max_tokens": 2}}, "reasoning.max_tokens"),
        ({"thinking": {"type": "enabled"}, "reasoning": {"enabled": False}}, "reasoning.enabled"),
        ({"thinking": {"type": "disabled"}, "enable_thinking": True}, "enable_thinking"),
        ({"thinking": {"type": "disabled", "budget_tokens": 9}}, "thinking.budget_tokens"),
        ({"reasoning": {"effort": "none", "enabled": True}}, "reasoning.effort"),
        ({"include_reasoning": True, "reasoning": {"exclude": True}}, "reasoning.exclude"),
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens"),
        ({"reasoning": {"max_tokens": 1.5}}, "reasoning.max_tokens"),
        ({"reasoning": {"enabled": 1}}, "reasoning.enabled"),
        ({"reasoning": {"exclude": "true"}}, "reasoning.exclude"),
        ({"reasoning": True}, "reasoning"),
        ({"include_reasoning": 1}, "include_reasoning"),
        ({"enable_thinking": "false"}, "enable_thinking"),
    ],
)
def test_words_that_differ_or_are_none_are_refused(
    client: httpx.Client, path: str, stream: bool, fields: dict[str, Any], field: str
) -> None:
    r = client.post(path, json=ASK[path] | {"model": "switched", "stream": stream} | fields)
    assert_error(r, 400, "INVALID_PARAMETER", field)


@both_ways
@everywhere
@pytest.mark.parametrize("fields", [{"include_reasoning": False}, {"reasoning": {"exclude": True}}])
def test_a_trace_that_is_not_shown_is_billed(
    client: httpx.Client, path: str, stream: bool, fields: dict[str, Any]
) -> None:
    shown, billed = trace_and_usage(client, path, stream)
    hidden, same = trace_and_usage(client, path, stream, **fields)
    assert (shown.split(), hidden) == (TRACE.split(), "")
    assert same == billed
    r = client.post(path, json=ASK[path] | {"stream": stream} | fields)
    assert "three" not in r.text, "in no other place either"


@pytest.mark.parametrize("path", [CHAT, TOKENIZE])
def test_chats_reasoning_has_the_effort(client: httpx.Client, path: str) -> None:
    body = {"model": "switched", "messages": SAID}
    r = client.post(path, json=body | {"reasoning": {"effort": "none"}})
    assert r.status_code == 200
    for fields, field in (
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"reasoning": {"effort": "none"}, "reasoning_effort": "low"}, "reasoning.effort"),
    ):
        assert_error(client.post(path, json=body | fields), 400, "INVALID_PARAMETER", field)


@both_ways
def test_completions_have_no_template_to_switch(client: httpx.Client, stream: bool) -> None:
    body = {"model": "thinks", "prompt": "Hi", "stream": stream}
    for name, value in (
        ("thinking", {"type": "disabled"}), ("reasoning", {"enabled": False}),
        ("enable_thinking", False), ("include_reasoning", False), ("verbosity", "low"),
    ):  # fmt: skip
        r = client.post(COMPLETIONS, json=body | {name: value})
        assert_error(r, 400, "INVALID_PARAMETER", name)


@both_ways
@everywhere
@pytest.mark.parametrize("asked", ["low", "medium", "high", "huge", True, None])
def test_verbosity_is_what_the_template_knows(
    client: httpx.Client, path: str, stream: bool, asked: Any
) -> None:
    field = "verbosity" if path == CHAT else "text.verbosity"
    fields = {"verbosity": asked} if path == CHAT else {"text": {"verbosity": asked}}
    for model, known in (("verbose", ("low", "medium", "high", None)), ("plain", ("medium", None))):
        r = client.post(path, json=ASK[path] | {"model": model, "stream": stream} | fields)
        if asked in known:
            assert r.status_code == 200, r.text
        else:
            assert_error(r, 400, "INVALID_PARAMETER", field)
