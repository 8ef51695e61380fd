"""What a server's front costs: CPU time and memory of its processes without the engine's."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

ENGINE_TITLES = ("EngineCore", "Worker", "engines.llamacpp.server_child")
"""How vLLM titles them (`VLLM::EngineCore`, `VLLM::Worker_TP0`), and llama.cpp's; all below them
is theirs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all processes together."""

    cpu_s: float
    rss_bytes: int
    processes: int


def front_cost(root_pid: int) -> Cost:
    """The process tree's cost up to now, the engine's part left out."""
    cpu_s, rss, count = 0.0, 0, 0
    for process in _front(psutil.Process(root_pid)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            cpu_s += times.user + times.system
            rss += process.memory_info().rss
            count += 1
    return Cost(cpu_s, rss, count)


def _front(process: psutil.Process) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        if is_engine(process):
            return
        yield process
        for child in process.children():
            yield from _front(child)


def is_engine(process: psutil.Process) -> bool:
    """Known by its title, which vLLM sets; without it, by how Python spawns."""
    title = " ".join(process.cmdline()) or process.name()
    if "resource_tracker" in title:
        return False
    return any(name in title for name in ENGINE_TITLES) or "multiprocessing.spawn" in title
