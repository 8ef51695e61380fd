"""stream_options.continuous_usage_stats: every chunk has the usage so far."""

import json
from itertools import pairwise
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RUNNING = {"include_usage": True, "continuous_usage_stats": True}
ASK: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "Hi you"}], "stream": True},
    COMPLETIONS: {"model": "m", "prompt": "Hi you", "stream": True},
}

served = server_of(
    scripted("m", text="one two three four"),
    scripted("thinks", text="one two", reasoning_text="well now", reasoning=Reasoning()),
)
everywhere = pytest.mark.parametrize("path", ASK)


def chunks_of(client: httpx.Client, path: str, **fields: Any) -> list[dict[str, Any]]:
    r = client.post(path, json=ASK[path] | {"stream_options": RUNNING} | fields)
    assert r.status_code == 200, r.text
    *data, done = [line[6:] for line in r.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(each) for each in data]


@everywhere
@pytest.mark.parametrize("n", [1, 3])
def test_every_chunk_has_the_usage_so_far(client: httpx.Client, path: str, n: int) -> None:
    chunks = chunks_of(client, path, n=n)
    *running, last = chunks
    assert last["choices"] == []
    counts = [chunk["usage"]["completion_tokens"] for chunk in running]
    prompt = last["usage"]["prompt_tokens"]
    assert prompt > 0
    assert all(chunk["usage"]["prompt_tokens"] == prompt for chunk in running)
    for usage in (chunk["usage"] for chunk in chunks):
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert counts == sorted(counts)
    assert counts[-1] == last["usage"]["completion_tokens"] == 5 * n
    words = [c for c in running if said(c) and c["choices"][0]["index"] == 0]
    steps = [chunk["usage"]["completion_tokens"] for chunk in words]
    assert [b - a for a, b in pairwise(steps)] == [n] * (len(steps) - 1)


def said(chunk: dict[str, Any]) -> str:
    choice = chunk["choices"][0]
    text: str = choice["text"] if "text" in choice else choice["delta"].get("content", "")
    return text


def test_a_thought_counts_as_it_comes(client: httpx.Client) -> None:
    *running, last = chunks_of(client, CHAT, model="thinks")
    thought = [c for c in running if "reasoning_content" in c["choices"][0]["delta"]]
    details = [c["usage"]["completion_tokens_details"]["reasoning_tokens"] for c in thought]
    assert details == [1, 2]
    assert last["usage"]["completion_tokens"] == 5


def test_the_role_comes_before_any_token(client: httpx.Client) -> None:
    first = chunks_of(client, CHAT)[0]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["usage"]["completion_tokens"] == 0


@everywhere
def test_without_include_usage_there_is_no_last_chunk_of_it(
    client: httpx.Client, path: str
) -> None:
    chunks = chunks_of(client, path, stream_options={"continuous_usage_stats": True})
    assert all(chunk["choices"] for chunk in chunks)
    assert chunks[-1]["usage"]["completion_tokens"] == 5


@everywhere
@pytest.mark.parametrize("value", [False, None])
def test_without_it_a_stream_is_as_before(client: httpx.Client, path: str, value: Any) -> None:
    options = {"include_usage": True, "continuous_usage_stats": value}
    *running, last = chunks_of(client, path, stream_options=options)
    assert all(chunk["usage"] is None for chunk in running)
    assert last["usage"]["completion_tokens"] == 5


@everywhere
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("value", [1, 0, "true", [], {}, 1.5])
def test_it_is_true_or_false(client: httpx.Client, path: str, value: Any, stream: bool) -> None:
    options = {"continuous_usage_stats": value}
    r = client.post(path, json=ASK[path] | {"stream": stream, "stream_options": options})
    assert_error(r, 400, "INVALID_PARAMETER", "stream_options.continuous_usage_stats")


@everywhere
def test_a_whole_answer_has_its_usage_once(client: httpx.Client, path: str) -> None:
    r = client.post(path, json=ASK[path] | {"stream": False, "stream_options": RUNNING})
    assert r.json()["usage"]["completion_tokens"] == 5


def test_an_echo_has_it_too(client: httpx.Client) -> None:
    chunks = chunks_of(client, COMPLETIONS, echo=True, logprobs=1, max_tokens=2)
    assert chunks[0]["choices"][0]["logprobs"]["tokens"] == ["Hi", " you"]
    assert [c["usage"]["completion_tokens"] for c in chunks] == [1, 1, 2, 2]
