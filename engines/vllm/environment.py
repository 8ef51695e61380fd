"""What vLLM reads from the process' environment, and for how long it stands there."""

import contextlib
import multiprocessing.resource_tracker
import os
import signal
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Children inherit this thread's mask: a terminal's Ctrl-C goes to the whole process group,
    and must not end the engine before the front has drained."""
    # Its first start unblocks SIGINT in the calling thread.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def variable_set(name: str, value: str, is_wanted: bool = True) -> Iterator[None]:
    """Set `name` for the block, where it is wanted and nobody has set it already."""
    if not is_wanted or name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def without_hub(path: str) -> contextlib.AbstractContextManager[None]:
    """Weights in a folder need no hub. For the start alone: later ones may have to download."""
    return variable_set("HF_HUB_OFFLINE", "1", Path(path).is_dir())


def without_compiler(is_wanted: bool) -> contextlib.AbstractContextManager[None]:
    """enforce_eager leaves the sampler's own torch.compile: on a CPU the first request with
    logprobs then stops every stream for 40 s while a C++ compiler runs."""
    return variable_set("TORCHDYNAMO_DISABLE", "1", is_wanted)


VARIABLES = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Wherever vLLM runs for us."""


def set_environment() -> None:
    """For good: vLLM reads most of it only at its first import. What is set already stays."""
    variables = dict(VARIABLES)
    if (os.cpu_count() or 1) <= 4:
        # vLLM leaves one core to the front by default: of two that is half (165 against 255
        # tokens/s with SmolLM2 at 32 streams).
        variables["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
        # The front then shares its cores, and a thread of libgomp that spins for its peer keeps it
        # out. Tokens/s in alternating runs on 2 cores with libgomp's default, 5000 and 1000
        # spins: a tiny model at 64 streams 5,954, 7,898, 8,109; SmolLM2 at one stream 31, 35, 28,
        # at 32 361, 366, 349.
        variables["GOMP_SPINCOUNT"] = "5000"
    for name, value in variables.items():
        os.environ.setdefault(name, value)
