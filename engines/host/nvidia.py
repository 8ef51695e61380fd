"""NVIDIA's side of this machine, as files tell it: driver, device files, torch built for CUDA."""

import importlib.util
import re
from pathlib import Path

OLDEST_DRIVER = 580
"""Runs CUDA 13, which torch and vLLM are built for: NVIDIA's table of CUDA releases and drivers."""
_DRIVER = Path("/proc/driver/nvidia/version")
"""The kernel's, so that a container sees it too, also one that was given no card."""
_DEVICES = Path("/dev")


def driver_version(file: Path = _DRIVER) -> str | None:
    """Of the driver that the kernel runs: "580.95.05". None: it runs none."""
    try:
        found = re.search(r"Kernel Module\D+?.*?\s(\d+(?:\.\d+)+)\s", file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found[1] if found else None


def is_too_old(version: str) -> bool:
    return int(version.split(".")[0]) < OLDEST_DRIVER


def has_device_files(folder: Path = _DEVICES) -> bool:
    """Whether processes here may open a card, by Linux' or WSL's driver."""
    return any((folder / name).exists() for name in ("nvidia0", "nvidiactl", "dxg"))


def has_cuda_build() -> bool:
    """Whether torch is here as it is built for CUDA; nothing is imported. Its version does not
    say: the package index has that build without a `+cu…`."""
    try:
        found = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return False
    if found is None or found.origin is None:
        return False
    return (Path(found.origin).parent / "lib/libtorch_cuda.so").exists()
