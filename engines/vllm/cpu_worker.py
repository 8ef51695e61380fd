"""vLLM's worker on a CPU. Imported by the worker alone.

vLLM keeps what torch.compile made, and reads it at the next start where nothing has changed. Of
what it has read it asks `finalize_loading`, which only what its own backend compiled has, and a
CPU's is inductor's: vLLM takes the failure for a cache that does not fit, and compiles at every
start anew (60 s of a core for 28 layers). There is nothing to finalise in inductor's.
"""

import contextlib
from typing import Any

import engines.vllm.cpu_generators  # noqa: F401 - mends what the worker has
from engines.vllm.worker_memory import WorkerMemory

_STEP = "finalize_loading"


class WorkerOnCpu(WorkerMemory):
    """Mixed into vLLM's worker class by its argument `worker_extension_cls`."""


def _is_final(_loaded: Any, _config: Any) -> None:
    """As VllmSerializableFunction.finalize_loading, for what is whole once it is read."""


def let_compiled_be_read(kind: type) -> None:
    """`kind`: of what inductor compiled. A version that has the step keeps its own."""
    if not hasattr(kind, _STEP):
        setattr(kind, _STEP, _is_final)


with contextlib.suppress(ImportError, AttributeError):  # a torch that keeps it otherwise
    from torch._dynamo import aot_compile_types

    let_compiled_be_read(aot_compile_types.BundledAOTAutogradSerializableCallable)
