"""Cards, their driver and its CUDA, memory, and what is shared between processes."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from engines.build import missing_library
from engines.host.nvidia import OLDEST_DRIVER, has_cuda_build, is_too_old
from engines.planning.machine import host_bytes, visible_cards
from server.cli.doctor.diagnosis import Diagnosis, bad, note, ok
from server.cli.no_card import no_card
from server.settings import Settings

GIB = 2**30
SHARED_BYTES, SHARED_BYTES_OF_MANY = GIB // 2, 8 * GIB
"""Of /dev/shm: for an engine on one card, and for workers on several."""
SHARED = Path("/dev/shm")
CUDA = 13_000
"""As the driver says it: CUDA 13.0."""


def cards(_: Settings) -> Iterator[Diagnosis]:
    found = visible_cards(os.environ)
    if not found:
        yield from _no_card()
        return
    names = ", ".join(f"{card.name or 'a card'} {card.label_gb} GB" for card in found)
    yield ok("cards", names)
    version = _driver()
    if version is None:
        yield note("driver", "nvidia-smi does not tell its version")
    elif is_too_old(version):
        remedy = f"install NVIDIA's driver {OLDEST_DRIVER} or newer"
        yield bad("driver", f"{version} is too old for CUDA 13", remedy)
    else:
        yield ok("driver", version)


def _no_card() -> Iterator[Diagnosis]:
    is_wanted = has_cuda_build() or shutil.which("nvidia-smi") is not None
    if is_wanted and (missing := no_card()) is not None:
        yield bad("cards", missing.words, missing.remedy)
    elif is_wanted:
        yield note("cards", "there may be some: nvidia-smi, which would name them, is not here")
    else:
        yield ok("cards", "none: engines run on the processor")


def _driver() -> str | None:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    first = said.strip().splitlines()[0] if said.strip() else ""
    return first if first.split(".")[0].isdigit() else None


def cuda(_: Settings) -> Iterator[Diagnosis]:
    """The driver's own library, as an engine's process begins with it; no card is used."""
    if not visible_cards(os.environ):
        return
    try:
        library = _libcuda()
    except OSError:
        remedy = "in a container: NVIDIA_DRIVER_CAPABILITIES=compute,utility; else the whole driver"
        yield bad("cuda", "there are cards, and no libcuda.so.1", remedy)
        return
    if failure := library.cuInit(0):
        remedy = "restart the machine after a new driver; in a container: --gpus all"
        yield bad("cuda", f"it does not begin: error {failure} of cuInit", remedy)
        return
    found = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(found))
    version = f"{found.value // 1000}.{found.value % 1000 // 10}"
    if found.value < CUDA:
        remedy = f"install NVIDIA's driver {OLDEST_DRIVER} or newer"
        yield bad("cuda", f"{version}: 13.0 is needed", remedy)
    else:
        yield ok("cuda", version)


def _libcuda() -> ctypes.CDLL:
    return ctypes.CDLL("libcuda.so.1")


def memory(_: Settings) -> Iterator[Diagnosis]:
    total = host_bytes()
    if total is None:
        yield note("memory", "nobody says how much there is")
    elif total < 2 * GIB:
        yield bad("memory", f"{total / GIB:.1f} GiB", "a server and its engine need 2 GiB")
    else:
        yield ok("memory", f"{total / GIB:.0f} GiB")


def shared_memory(_: Settings) -> Iterator[Diagnosis]:
    """vLLM's processes talk through it; a container has 64 MiB unless it is told otherwise."""
    if missing_library("vllm") is not None:
        return
    needs = SHARED_BYTES_OF_MANY if len(visible_cards(os.environ)) > 1 else SHARED_BYTES
    has = shutil.disk_usage(SHARED).total if SHARED.exists() else 0
    words = f"{has / GIB:.1f} GiB in {SHARED}"
    if has < needs:
        remedy = f"make it {needs / GIB:.1f} GiB; in a container --ipc=host or --shm-size"
        yield bad("shared memory", words, remedy)
    else:
        yield ok("shared memory", words)


def compilers(_: Settings) -> Iterator[Diagnosis]:
    """What no wheel brings is compiled at an engine's first start."""
    if missing_library("vllm") is not None:
        return
    wanted = ["g++", "nvcc"] if visible_cards(os.environ) else ["g++"]
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing:
        remedy = "install it; an engine with enforce_eager needs less of it"
        yield note("compilers", f"no {' and no '.join(missing)}", remedy)
    else:
        yield ok("compilers", ", ".join(wanted))
