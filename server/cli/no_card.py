"""Why no GPU is to be had here, and what would bring one, on a machine and in each container."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.host.nvidia import (
    OLDEST_DRIVER,
    driver_version,
    has_cuda_build,
    has_device_files,
    is_too_old,
)
from engines.registry.registry import has_gpu

_NONE = ("", "-1", "NoDevFiles")
"""What CUDA_VISIBLE_DEVICES leaves no card with."""
_TOOLKIT = "the NVIDIA Container Toolkit"


@dataclass(frozen=True, slots=True)
class NoCard:
    words: str
    remedy: str


def no_card(environment: Mapping[str, str] = os.environ) -> NoCard | None:
    """None: there is one, or there may be: nvidia-smi is missing, its device files are not."""
    if (chosen := environment.get("CUDA_VISIBLE_DEVICES")) is not None and chosen.strip() in _NONE:
        return NoCard(f"CUDA_VISIBLE_DEVICES={chosen.strip()} hides every GPU", "unset it")
    if has_gpu():
        return None
    if shutil.which("nvidia-smi"):
        remedy = f"see what `nvidia-smi` says; in a container: --gpus all, and {_TOOLKIT}"
        return NoCard("nvidia-smi is here and lists no GPU", remedy)
    if has_device_files():
        return None
    return where(container(environment), driver_version())


def old_driver() -> str | None:
    """What is wrong with the driver that the kernel runs, where engines are built for CUDA."""
    version = driver_version()
    if version is None or not is_too_old(version) or not has_cuda_build():
        return None
    return f"NVIDIA's driver {version} is older than {OLDEST_DRIVER}, which engines need (CUDA 13)"


def container(environment: Mapping[str, str], root: Path = Path("/")) -> str | None:
    """kubernetes, apptainer, or docker (Podman too); None: this is in none of them."""
    if "KUBERNETES_SERVICE_HOST" in environment:
        return "kubernetes"
    if "APPTAINER_CONTAINER" in environment or "SINGULARITY_CONTAINER" in environment:
        return "apptainer"
    marks = (root / ".dockerenv", root / "run/.containerenv")
    return "docker" if any(mark.exists() for mark in marks) else None


def where(kind: str | None, driver: str | None) -> NoCard:
    """In a container of this kind, on a kernel with this driver."""
    if driver is None:
        words = "no NVIDIA driver runs on this machine"
    elif kind is None:
        words = f"the NVIDIA driver {driver} shows no GPU"
    else:
        words = "this container was given none of the machine's GPUs"
    return NoCard(words, _remedy(kind, driver))


def _remedy(kind: str | None, driver: str | None) -> str:
    install = f"install NVIDIA's driver, {OLDEST_DRIVER} or newer"
    match kind:
        case "kubernetes":
            node = f"a node that has NVIDIA's driver, {OLDEST_DRIVER} or newer, and device plugin"
            return f"resources.limits must ask for nvidia.com/gpu, on {node}"
        case "apptainer":
            return "start it with --nv" if driver else f"{install}, then start with --nv"
        case "docker":
            start = f"{_TOOLKIT}, and `docker run --gpus all`"
            return f"it takes {start}" if driver else f"{install}, and {start}"
        case _:
            return "see what the kernel's log (dmesg) says of it" if driver else install
