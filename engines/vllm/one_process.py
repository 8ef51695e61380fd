"""On a CPU, one process an engine: the model computes in EngineCore, not in a Worker beside it.

vLLM turns its executor of one process (`uni`, its choice for one GPU) into that of several (`mp`)
on a CPU, since OpenMP reads its threads' number and places when a process begins. So here they are
in the environment when EngineCore begins. A start then costs 7 s of processor time, not 14, an
engine 0.8 GiB before its weights and cache, not 1.3, and a step no message to another process.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

_BACKEND = "distributed_executor_backend"


@contextlib.contextmanager
def in_one_process(config: Any, given: Mapping[str, Any]) -> Iterator[None]:
    """Have a CPU's VllmConfig compute in EngineCore, which must begin inside the block. Several
    ranks stay several processes, and so does what the operator chose in `given`."""
    parallel = config.parallel_config
    if given.get(_BACKEND) or parallel.world_size_across_dp > 1:
        yield
        return
    try:
        from vllm.utils.ompmultiprocessing import OMPProcessManager
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        threads = OMPProcessManager(config).configure_omp_envs(rank=0, local_rank=0)
    except (ImportError, AttributeError, TypeError):  # a vLLM that does it otherwise
        yield
        return
    parallel.distributed_executor_backend = UniProcExecutor
    with threads:
        yield
