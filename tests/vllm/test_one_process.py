"""On a CPU one process makes an engine's tokens, with the threads that vLLM gives a Worker."""

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from engines.vllm.engine import VllmEngine
from engines.vllm.one_process import in_one_process
from tests.support.engine_fixtures import on


@pytest.mark.anyio
@on("vllm-tiny")
async def test_an_engine_is_one_process(engine: VllmEngine) -> None:
    assert len(engine.pids) == 1


@pytest.fixture
def config(llm: Any) -> Iterator[Any]:
    """vLLM's own, as it came out of its own changes for a CPU."""
    parallel = llm.vllm_config.parallel_config
    before = parallel.distributed_executor_backend
    yield llm.vllm_config
    parallel.distributed_executor_backend = before


@pytest.mark.vllm
@pytest.mark.parametrize("chosen", ["0", "0,1"])
def test_its_threads_are_those_of_a_worker(
    config: Any, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    from vllm.v1.executor.abstract import Executor
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", chosen)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert config.parallel_config.distributed_executor_backend == "mp"
    with in_one_process(config, {}):
        assert Executor.get_class(config) is UniProcExecutor
        assert os.environ["OMP_NUM_THREADS"] == str(len(chosen.split(",")))
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.vllm
def test_what_the_operator_chose_stays(config: Any) -> None:
    with in_one_process(config, {"distributed_executor_backend": "mp"}):
        assert config.parallel_config.distributed_executor_backend == "mp"


@pytest.mark.vllm
def test_several_ranks_stay_several_processes() -> None:
    parallel = SimpleNamespace(world_size_across_dp=2, distributed_executor_backend="mp")
    with in_one_process(SimpleNamespace(parallel_config=parallel), {}):
        assert parallel.distributed_executor_backend == "mp"


@pytest.mark.vllm
def test_a_vllm_that_places_its_threads_otherwise_has_its_workers(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.utils import ompmultiprocessing

    monkeypatch.delattr(ompmultiprocessing, "OMPProcessManager")
    with in_one_process(config, {}):
        assert config.parallel_config.distributed_executor_backend == "mp"
