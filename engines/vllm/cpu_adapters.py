"""vLLM's worker on a CPU, with adapters. Imported by the worker alone.

vLLM's operators in torch take "no adapter" (the slot -1) for the last slot: beside requests with
adapters the base's own would be answered with that one's weights. So what they compute for those
rows is taken back, where it is still small; a vLLM without these names does not start.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu

import engines.vllm.cpu_worker  # noqa: F401 - mends what the worker has
from engines.vllm.worker_memory import WorkerMemory


class WorkerWithAdapters(WorkerMemory):
    """Mixed into vLLM's worker class by its argument `worker_extension_cls`."""


def _leaving_the_base(shrink: Callable[..., None]) -> Callable[..., None]:
    @wraps(shrink)
    def shrunk(inputs: Any, weights: Any, output: Any, slots: Any, scaling: float = 1.0) -> None:
        """Inputs to rank: one row of `output` a row of `slots`."""
        shrink(inputs, weights, output, slots, scaling)
        output.masked_fill_((slots < 0).unsqueeze(1), 0)

    return shrunk


lora_ops.bgmv_shrink = punica_cpu.bgmv_shrink = _leaving_the_base(lora_ops.bgmv_shrink)
