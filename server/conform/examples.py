"""Checks: the published page's own examples, word for word where the model is served."""

from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import documented
from server.conform.target import CHAT, CHAT_PATHS, Target

NORWAY: Final = {
    "model": "qwen3-235b-thinking",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of Norway?"},
    ],
    "temperature": 0.7,
    "max_tokens": 256,
}
HELLO: Final = {
    "model": "mixtral-8x7b",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello!"},
    ],
    "temperature": 0.7,
    "max_tokens": 100,
}
STORY: Final = {
    "model": "qwen3-80b-instruct",
    "messages": [{"role": "user", "content": "Write a story"}],
    "stream": True,
    "max_tokens": 500,
}
AGENT: Final = {
    "model": "deepseek-v3",
    "messages": [{"role": "user", "content": "Help me code"}],
    "agent_id": "ephemeral",
    "tools": [],
    "tool_choice": "auto",
}


@documented("field-examples", slow=True)
def capital_of_norway(t: Target) -> None:
    """The page's first example, on all three paths"""
    for path in CHAT_PATHS:
        expect.content(_asked(t, NORWAY, path))


@documented("field-examples")
def capital_of_norway_begins(t: Target) -> None:
    """The page's first example is taken (streamed, left after its first chunk)"""
    _begins(t, NORWAY | {"stream": True})


@documented("field-examples")
def hello(t: Target) -> None:
    """The page's request example"""
    expect.content(_asked(t, HELLO))


@documented("field-examples")
def story(t: Target) -> None:
    """The page's streaming example (left after its first chunk)"""
    _begins(t, STORY)


@documented("field-examples", slow=True)
def agent(t: Target) -> None:
    """The page's agent example"""
    expect.content(_asked(t, AGENT))


@documented("field-examples")
def agent_begins(t: Target) -> None:
    """The page's agent example is taken (streamed, left after its first chunk)"""
    _begins(t, AGENT | {"stream": True})


def _with_model(t: Target, body: Any) -> dict[str, Any]:
    """The example as printed, unless its alias is not served or --model names another."""
    is_served = body["model"] in t.models and t.options.model is None
    return dict(body) if is_served else body | {"model": t.model}


def _asked(t: Target, body: Any, path: str = CHAT) -> httpx.Response:
    return t.post(path, _with_model(t, body))


def _begins(t: Target, body: Any) -> None:
    with t.http.stream("POST", CHAT, json=_with_model(t, body), headers=t.auth) as answer:
        if answer.status_code != 200:
            answer.read()
        expect.status(answer, 200)
        first = next((line for line in answer.iter_lines() if line.startswith("data:")), "")
    expect.that(first.startswith("data: {"), "a first chunk", first)
