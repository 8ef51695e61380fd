"""A trace through real engines: their times and tokens are in it, and nothing of theirs beside."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.base import Engine
from engines.registry.spec import EngineSpec, ModelSpec
from server.tracing import export
from tests.support.collectors import collecting
from tests.support.engine_fixtures import Lent, in_a_thread, on
from tests.support.serving import serving_here

pytestmark = [pytest.mark.anyio, on("llamacpp-smollm2", "vllm-tiny", "vllm-tiny-public")]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "EVERY_S", 0.02)


@in_a_thread
def asked(url: str, headers: dict[str, str], is_stream: bool) -> None:
    usage = {"stream_options": {"include_usage": True}} if is_stream else {}
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hei"}]}
    body |= {"max_tokens": 12, "ignore_eos": True, "stream": is_stream, **usage}
    answer = httpx.post(f"{url}/v1/chat/completions", headers=headers, json=body, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
async def test_an_engines_answer_is_one_trace(
    engine: Engine, tmp_path: Path, is_stream: bool
) -> None:
    spec = EngineSpec(kind="vllm", source="lent")
    model = ModelSpec(alias="m", engine=spec, context_tokens=1024, output_tokens=512)
    with collecting() as collector:
        settings = {"otlp_endpoint": collector.url}
        build = lambda _: Lent(engine)  # noqa: E731 - one line of a test
        async with serving_here(tmp_path, model, build=build, settings=settings) as served:
            await asked(served.url, served.headers, is_stream)
        root, work, *phases = collector.spans()
    assert work.parent_id == root.span_id
    assert [phase.name for phase in phases] == ["queue", "prompt", "prefill", "decode", "settle"]
    assert all(phase.ended_ns >= phase.began_ns for phase in phases)
    took_s = {phase.name: 1e-9 * (phase.ended_ns - phase.began_ns) for phase in phases}
    assert took_s["prefill"] > 0
    assert took_s["decode"] > 0
    assert work["gen_ai.usage.output_tokens"] == 12
    assert work["gen_ai.response.finish_reasons"] == ["length"]
    assert 0 < work["gen_ai.server.time_per_output_token"] < took_s["decode"]
