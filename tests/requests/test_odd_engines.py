"""Engines that say little, late or odd things: what is billed and what the client then reads."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from engines.base import Delta, GenerateRequest, Prompt, Sink, TokenLogprob
from engines.testing.scripted import ScriptedEngine
from tests.support.serving import Served, read_records, scripted, serving

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "go"},
    "/v1/responses": {"input": "go"},
}
WAYS = [(path, stream) for path in PATHS for stream in (False, True)]


def ask(server: Served, path: str, stream: bool, **fields: Any) -> httpx.Response:
    asked = {"model": "m", "stream": stream, **PATHS[path], **fields}
    return httpx.post(server.url + path, headers=server.headers, json=asked, timeout=30)


class Cached(ScriptedEngine):
    """Finds all but one token of each prompt in its cache, and says so once a prompt."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        cached = prompt.token_count - 1
        async for d in super().generate(request, prompt):
            yield replace(d, cached_tokens=cached)
            cached = 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("prompts", [1, 10])
def test_cached_tokens_of_every_prompt_are_billed_as_cached(
    tmp_path: Path, prompts: int, n: int, stream: bool
) -> None:
    prompt = " ".join(["word"] * 101)
    with serving(tmp_path, scripted("m", text="."), build=Cached) as server:
        r = ask(server, "/v1/completions", stream, prompt=[prompt] * prompts, n=n, max_tokens=1)
        assert r.status_code == 200
    (record,) = read_records(tmp_path)
    assert record["prompt_tokens"] == 101 * prompts
    assert record["cached_tokens"] == 100 * prompts
    assert record["amount"] == prompts * (1 * 4 + 100 * 1 + n * 12)


class Impossible(ScriptedEngine):
    """Gives a token that cannot come, and no alternative to it that can."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        never = float("-inf")
        async for d in super().generate(request, prompt):
            top = (TokenLogprob("b", never, (98,)),)
            yield replace(d, logprobs=(TokenLogprob("a", never, (97,), top),) if d.text else ())


@pytest.mark.parametrize(("path", "stream"), WAYS)
def test_a_log_probability_is_a_number_also_where_it_is_minus_infinity(
    tmp_path: Path, path: str, stream: bool
) -> None:
    fields: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"logprobs": True, "top_logprobs": 1},
        "/v1/completions": {"logprobs": 1},
        "/v1/responses": {"top_logprobs": 1, "include": ["message.output_text.logprobs"]},
    }
    with serving(tmp_path, scripted("m", text="."), build=Impossible) as server:
        text = ask(server, path, stream, **fields[path]).text
    assert text.count("-9999.0") >= 2
    assert '"logprob":null' not in text
    assert '"token_logprobs":[null' not in text


class Silent(ScriptedEngine):
    """Ends without a word."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(self.args.get("silence_s", 0))
        nothing: tuple[Delta, ...] = ()
        for d in nothing:
            yield d


@pytest.mark.parametrize(("path", "stream"), WAYS)
def test_an_engine_that_yields_nothing_is_a_logged_500_that_costs_nothing(
    tmp_path: Path, path: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), serving(tmp_path, scripted("m"), build=Silent) as server:
        r = ask(server, path, stream)
        assert (r.status_code, r.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "never began" in caplog.text
    (record,) = read_records(tmp_path)
    assert (record["end"], record["amount"], record["prompt_tokens"]) == ("failed", 0, 0)


def sse(text: str) -> list[tuple[str, Any]]:
    """The events of a stream, without its comments: name, payload."""
    out = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in ":")
        if lines.get("data", "[DONE]") != "[DONE]":
            out.append((lines.get("event", ""), json.loads(lines["data"])))
    return out


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_fails_after_a_comment_line_is_whole(tmp_path: Path, path: str) -> None:
    model = scripted("m", silence_s=1.0)
    with serving(tmp_path, model, build=Silent, settings={"keep_alive_s": 0.1}) as server:
        r = ask(server, path, True)
    assert r.status_code == 200
    assert r.text.startswith(": ")
    found = sse(r.text)
    if path == "/v1/responses":
        names = ["response.created", "response.in_progress", "error", "response.failed"]
        assert [name for name, _ in found] == names
        assert [payload["sequence_number"] for _, payload in found] == [0, 1, 2, 3]
    else:
        assert [payload["error"]["code"] for _, payload in found] == ["INTERNAL_ERROR"]
        assert r.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", PATHS)
def test_comment_lines_never_come_after_the_end(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = scripted("m", first_token_delay_s=0.5, text=".")
    with serving(tmp_path, model, settings={"keep_alive_s": 0.05}) as server:
        texts = [ask(server, path, True).text for _ in range(3)]
    for text in texts:
        assert text.startswith(": ")
        assert not text.rstrip().rsplit("\n\n", 1)[-1].startswith(":")
    assert not caplog.records
