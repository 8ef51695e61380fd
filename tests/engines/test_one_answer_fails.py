"""A bug in one answer, seen by its client: 500 without the bug's text, billed, and nothing more."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from engines.base import Delta, GenerateRequest, Prompt, Sink
from engines.testing.scripted import ScriptedEngine
from tests.support.serving import read_records, scripted, serving

BEFORE = 5


class Stumbling(ScriptedEngine):
    """Has a bug in a stream's sixth delta, and in a whole answer's only one."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        number = 0 if request.stream else BEFORE
        async with aclosing(super().generate(request, prompt)) as deltas:
            async for delta in deltas:
                if number == BEFORE and "stumble" in str(request.messages):
                    raise KeyError("a bug of ours, with /a/path")
                number += 1
                yield delta


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_it_ends_alone_is_billed_and_told_without_its_text(
    tmp_path: Path, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = scripted("m", text="word " * 30)
    body = {"model": "m", "messages": [{"role": "user", "content": "stumble"}], "stream": stream}
    with (
        caplog.at_level(logging.ERROR, "fjord.answer"),
        serving(tmp_path, model, build=Stumbling) as server,
        httpx.Client(base_url=server.url, headers=server.headers) as client,
    ):
        failed = client.post("/v1/chat/completions", json=body)
        body["messages"] = [{"role": "user", "content": "go on"}]
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        assert len(server.engines) == 1, "the engine was not replaced"
    assert failed.status_code == (200 if stream else 500)
    assert "INTERNAL_ERROR" in failed.text
    assert "/a/path" not in failed.text
    assert "a bug of ours, with /a/path" in caplog.text
    first, _ = read_records(tmp_path)
    assert first["end"] == "failed"
    assert first["completion_tokens"] == (BEFORE if stream else 0)
