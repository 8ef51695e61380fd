"""Runs as a process of its own: a model from the hub, or from the hub's cache, on disk.

`python -m engines.weights.hub OWNER/NAME KIND REVISION FILE` (empty: none). Honours HF_ENDPOINT,
HF_HOME, HF_TOKEN and HF_HUB_OFFLINE. A cut connection is taken up where it ended; after
a restart whole files are kept. What is in the cache is used as it is: a start does not depend on
the hub, and a branch that moved changes nothing by itself.
"""

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import DryRunFileInfo

from engines.host.child_job import ChildJobFailed, Progress, child_job

ALLOWED = ["*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py", "*.safetensors"]
IGNORED = ["original/*", "consolidated*", "metal/*", "onnx/*", "openvino/*"]
POLL_S = 0.5
ABANDONED_S = 600


def fetch(args: Sequence[str], progress: Progress) -> str:
    """The snapshot's folder, or the file in it for llamacpp."""
    repository, kind, revision, file = args
    try:
        snapshot = Snapshot(
            repository, revision or None, file if kind == "llamacpp" else None, kind
        )
        return str(snapshot.cached() or snapshot.download(progress))
    except ChildJobFailed:
        raise
    except Exception as e:
        raise ChildJobFailed(failure_reason(e, repository, revision)) from e


class Snapshot:
    """Some files of one repository at one revision."""

    def __init__(self, repository: str, revision: str | None, file: str | None, kind: str) -> None:
        self.repository = repository
        self.revision = revision
        self.kind = kind
        self.patterns = [file.replace("-00001-of-", "-*-of-")] if file else ["*.gguf"]
        if kind != "llamacpp":
            self.patterns = ALLOWED

    def cached(self) -> Path | None:
        """What a former download left, if it is whole; no network."""
        try:
            folder = self._snapshot(only_cached=True)
        except OSError:
            return None
        return self._weights(folder)

    def download(self, progress: Progress) -> Path:
        progress(f"asking {constants.ENDPOINT} for {self.repository}", None, None)
        _remove_abandoned_parts(self.repository)
        files = self._listed()
        if not any(f.filename.endswith((".safetensors", ".gguf")) for f in files):
            self.patterns = [*self.patterns, "pytorch_model*.bin"]
            files = self._listed()
        self._refuse_what_cannot_work(files)
        with _ProgressMeter(files, self.repository, progress):
            folder = self._snapshot(only_cached=False)
        weights = self._weights(folder)
        if weights is None:
            raise ChildJobFailed(
                f"{self.repository} came without weights that {self.kind} can read"
            )
        return weights

    def listed_sizes(self) -> dict[str, int]:
        """What would be fetched, by file. Raises what the library raises."""
        return {f.filename: f.file_size or 0 for f in self._listed()}

    def _snapshot(self, only_cached: bool) -> Path:
        return Path(
            snapshot_download(
                self.repository,
                revision=self.revision,
                allow_patterns=self.patterns,
                ignore_patterns=IGNORED,
                local_files_only=only_cached,
            )
        )

    def _listed(self) -> list[DryRunFileInfo]:
        return snapshot_download(
            self.repository,
            revision=self.revision,
            allow_patterns=self.patterns,
            ignore_patterns=IGNORED,
            dry_run=True,
        )

    def _refuse_what_cannot_work(self, files: Sequence[DryRunFileInfo]) -> None:
        ggufs = sorted(f.filename for f in files if f.filename.endswith(".gguf"))
        if self.kind == "llamacpp" and (not ggufs or not _are_one(ggufs)):
            held = ", ".join(ggufs) or f"no {self.patterns[0]}"
            raise ChildJobFailed(
                f"{self.repository} has {held}; right would be file: with one name"
            )
        missing = sum(f.file_size or 0 for f in files if f.will_download)
        cache = Path(constants.HF_HUB_CACHE)
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if missing > free:
            raise ChildJobFailed(
                f"{self.repository} needs {_gb(missing)} more and {cache} has {_gb(free)} free; "
                "make room, or point HF_HOME to a larger disk"
            )

    def _weights(self, folder: Path) -> Path | None:
        """The folder or GGUF file, if everything its index names is there."""
        if self.kind == "llamacpp":
            ggufs = sorted(path for pattern in self.patterns for path in folder.glob(pattern))
            names = [path.name for path in ggufs]
            return ggufs[0] if ggufs and _are_one(names) else None
        if not (folder / "config.json").exists():
            return None
        index = folder / "model.safetensors.index.json"
        if index.exists():
            shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
            return folder if all((folder / shard).exists() for shard in shards) else None
        whole = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
        return folder if whole else None


class _ProgressMeter:
    """Tells the bytes on disk while the block runs: the parts of a file count as they arrive."""

    def __init__(
        self, files: Sequence[DryRunFileInfo], repository: str, progress: Progress
    ) -> None:
        self._what = f"downloading {repository}"
        self._progress = progress
        self._total = sum(f.file_size or 0 for f in files)
        self._kept = sum(f.file_size or 0 for f in files if not f.will_download)
        self._blobs = _blobs(repository)
        self._before = self._on_disk()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._done.wait(POLL_S):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        done = self._kept + self._on_disk() - self._before
        self._progress(self._what, min(max(done, 0), self._total), self._total)

    def _on_disk(self) -> int:
        total = 0
        for path in self._blobs.glob("*"):
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                total += path.stat().st_size
        return total


def _blobs(repository: str) -> Path:
    """The cache's folder of one repository's files, whole ones and parts."""
    return Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "blobs")


def _remove_abandoned_parts(repository: str) -> None:
    """The library starts a new part in every process, and a killed one leaves its own behind. A
    part that is still being written is younger than this."""
    for part in _blobs(repository).glob("*.incomplete"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()


def _are_one(ggufs: Sequence[str]) -> bool:
    """One file, or the parts of one."""
    return len({name.partition("-00")[0] for name in ggufs}) == 1 and (
        len(ggufs) == 1 or all("-of-" in name for name in ggufs)
    )


def failure_reason(error: BaseException, repository: str, revision: str) -> str:
    """What went wrong, where, and what would be right."""
    hub = constants.ENDPOINT
    # The library wraps what it met on the way to its own "not in the cache".
    if isinstance(error, LocalEntryNotFoundError | DryRunError) and error.__cause__ is not None:
        error = error.__cause__
    match error:
        case GatedRepoError():
            return (
                f"{repository} is gated: accept its licence at {hub}/{repository}, then set "
                "HF_TOKEN or log in with `hf auth login`"
            )
        case RepositoryNotFoundError():
            return (
                f"{hub} has no {repository}, or it is private: check the name, or set HF_TOKEN "
                "to a token that may read it"
            )
        case RevisionNotFoundError():
            return (
                f"{repository} has no revision {revision!r}; right would be main, a tag, a commit"
            )
        case OfflineModeIsEnabled():
            return (
                f"{repository} is not whole in {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
                "forbids to fetch it: unset it, or name a local folder as source"
            )
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return (
                f"{hub} refuses {repository} (status {error.response.status_code}): set HF_TOKEN "
                "to a token that may read it"
            )
        case HfHubHTTPError():
            return f"{hub} answers {repository} with status {error.response.status_code}"
        case Exception() if type(error).__module__.startswith(("httpx", "requests")):
            return (
                f"{hub} cannot be reached for {repository} ({type(error).__name__}: {error}): "
                "check the network, or name a local folder as source"
            )
        case OSError(errno=28):
            return f"the disk of {constants.HF_HUB_CACHE} is full: make room, or set HF_HOME"
        case _:
            return f"{repository} could not be fetched: {type(error).__name__}: {error}"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


if __name__ == "__main__":
    child_job(fetch)
