"""The locked wheels of this machine's kind, as pip fetches them: each has the lock's hash."""

import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from engines.bundle.contents import HERE, BundlePiece
from engines.bundle.errors import BundleError

SETS = ("laptop", "cpu", "cuda")
REQUIREMENTS = "requirements.txt"


def wheel_set(kinds: Iterable[str], has_gpu: bool) -> str:
    """Which lock an installation for these engines has, as the Makefile chooses it."""
    if "vllm" not in set(kinds):
        return "laptop"
    return "cuda" if has_gpu else "cpu"


def platform_name() -> str:
    """Of what the wheels run on, as in linux-x86_64-cp311."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{platform.system().lower()}-{sysconfig.get_platform().split('-')[-1]}-{python}"


def fetch_wheels(chosen: str, folder: Path) -> list[Path]:
    """Fetches them into `folder`. Raises BundleError."""
    lock = HERE / "requirements" / f"{chosen}.txt"
    if not lock.exists():
        raise BundleError(f"--wheels needs {lock}, which a checkout has and this Fjord lacks")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    command += ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    ended = subprocess.run(
        [*command, "-r", str(lock), "-d", str(folder)], capture_output=True, text=True
    )
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        reason = (said or ended.stderr.splitlines() or ["pip said nothing"])[-1]
        raise BundleError(f"the wheels of {lock.name} could not be fetched: {reason[:300]}")
    if chosen == "cpu":
        _fetch_torch(folder)
    return sorted(folder.glob("*.whl"))


def wheel_pieces(chosen: str, wheels: Iterable[Path]) -> list[BundlePiece]:
    lock = (HERE / "requirements" / f"{chosen}.txt").read_bytes()
    named = [
        BundlePiece(f"wheels/{REQUIREMENTS}", lock),
        BundlePiece("wheels/set", f"{chosen}\n".encode()),
    ]
    return [*named, *(BundlePiece(f"wheels/{path.name}", path) for path in wheels)]


def _fetch_torch(folder: Path) -> None:
    """The CPU build of it stands in no lock: PyPI has none (Makefile)."""
    import importlib.metadata

    version = importlib.metadata.version("torch")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "download"]
    command += ["--no-deps", "-d", str(folder), f"torch=={version}"]
    if subprocess.run(command, capture_output=True).returncode:
        command += ["--index-url", "https://download.pytorch.org/whl/cpu"]
        if subprocess.run(command, capture_output=True).returncode:
            raise BundleError(f"torch {version} could not be fetched: no index has it")
