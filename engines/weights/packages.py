"""Weights inside an installed Python package: found and verified, never imported."""

import base64
import hashlib
import importlib.metadata
import re
from pathlib import Path

from engines.base import EngineBroken, EngineUnavailable

QUANTIZATION = re.compile(r"[.-](I?Q\d\w*|B?F\d+)$", re.IGNORECASE)
"""The end of a GGUF's name: SmolLM2-135M-Instruct.Q4_1."""


def gguf_in(
    package: str, file: str | None = None, projector: str | None = None
) -> importlib.metadata.PackagePath:
    """The package's GGUF file; `file` names it where there are several beside the `projector`."""
    found = [f for f in files_of(package) if f.suffix == ".gguf" and f.name != projector]
    ggufs = [f for f in found if file in (None, f.name)]
    if len(ggufs) != 1:
        names = ", ".join(f.name for f in ggufs) or f"no {file or '*.gguf'}"
        raise EngineUnavailable(f"The package {package} holds {names}; exactly one is needed.")
    return ggufs[0]


def model_name(source: str) -> str:
    """A source as people call it: a package's own file says what is in it."""
    package = source.removeprefix("package:")
    if package == source:
        return Path(source).name if Path(source).is_absolute() else source
    try:
        return QUANTIZATION.sub("", Path(gguf_in(package).name).stem)
    except EngineUnavailable:
        return package


def folder_in(package: str) -> Path | None:
    """The package's folder with a config.json and safetensors; None where it has none."""
    folders = {Path(f.locate()).parent for f in files_of(package) if f.name == "config.json"}
    whole = sorted(folder for folder in folders if any(folder.glob("*.safetensors")))
    return whole[0] if whole else None


def recorded_sha256(file: importlib.metadata.PackagePath) -> str | None:
    """What the installer recorded, in hex; None where it recorded none."""
    if file.hash is None or file.hash.mode != "sha256":
        return None
    return base64.urlsafe_b64decode(file.hash.value + "==").hex()


def verified(file: importlib.metadata.PackagePath) -> Path:
    """The file's path, its bytes being those that were installed. About 0.1 s for 98 MB."""
    path, recorded = Path(file.locate()), recorded_sha256(file)
    if not path.is_file():
        raise EngineUnavailable(f"{path.name} is not there any more; install its package again.")
    if recorded is not None and sha256(path) != recorded:
        raise EngineUnavailable(f"{path.name} is damaged; install its package again.")
    return path


def sha256(path: Path) -> str:
    """In hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_installed(package: str) -> bool:
    """Whether pip, or whoever, put it here."""
    return bool(list(importlib.metadata.distributions(name=package)))


def files_of(package: str) -> list[importlib.metadata.PackagePath]:
    """As its installer recorded them. Raises EngineBroken."""
    try:
        return importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise EngineBroken(
            f"The package {package} is not installed; `pip install --no-deps {package}`"
        ) from None
