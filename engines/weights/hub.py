"""Runs as a process of its own: a model from the hub, in a plain folder on disk.

`python -m engines.weights.hub OWNER/NAME KIND REVISION NAMES HOW` (NAMES: a Selection's, HOW: see
resolve.fetched, both JSON). Honours HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE. What is in
the store, or in the hub's own cache, is used as it is: a start does not depend on the hub, and a
branch that moved changes nothing by itself. What is fetched goes into the store, gone on with where
it ended.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import HfApi, RepoFile, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from engines.host.child_job import REPEAT_S, ChildJobFailed, Progress, child_job
from engines.weights.fetching import FileFetch, RemoteFile
from engines.weights.hub_address import hub_address, without_credentials
from engines.weights.listed import bounded, check_files, checked_commit
from engines.weights.manifest import (
    BadManifest,
    StoredFile,
    WeightsManifest,
    read_manifest,
    write_manifest,
)
from engines.weights.patience import patiently
from engines.weights.selection import IGNORED, Selection
from engines.weights.store import PARTS, WeightsStore

ROOM_LEFT_BYTES = 100_000_000
"""What a fetch leaves free, for who else writes there."""


def fetch(args: Sequence[str], progress: Progress) -> str:
    """The folder, or the file in it for llamacpp."""
    repository, kind, revision, names, how = args
    asked = json.loads(how)
    try:
        model = HubModel(repository, revision or None, Selection.of(kind, names))
        store = WeightsStore(Path(asked["root"]))
        if not asked["asks_hub"] and (found := model.here(store)) is not None:
            return str(found)
        progress(f"asking {hub_address()} for {repository}", None, None)
        listing = patiently(model.listing, progress)
        pull = Pull(model, store, listing, again=tuple(asked["again"]))
        with _alone(store.repository(repository), progress):
            return str(pull.fetch(progress))
    except (ChildJobFailed, BadManifest) as e:
        raise ChildJobFailed(str(e)) from None
    except Exception as e:
        raise ChildJobFailed(failure_reason(e, repository, revision)) from e


@dataclass(frozen=True, slots=True)
class Listing:
    """What of a repository is wanted, at one commit."""

    commit: str
    licence: str | None
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class HubModel:
    """Some files of one repository at one revision."""

    repository: str
    revision: str | None
    selection: Selection

    def here(self, store: WeightsStore) -> Path | None:
        """What a former fetch left, if it is whole; no network."""
        found = store.find(self.repository, self.revision, self.selection)
        return found or self.cached()

    def cached(self) -> Path | None:
        """In the hub's own cache, where earlier versions and other programs fetch to."""
        patterns = [*self.selection.patterns, "pytorch_model*.bin"]
        try:
            folder = Path(
                snapshot_download(
                    self.repository,
                    revision=self.revision,
                    allow_patterns=patterns,
                    ignore_patterns=list(IGNORED),
                    local_files_only=True,
                )
            )
        except OSError:
            return None
        files = [path for path in folder.rglob("*") if path.is_file()]
        return self.selection.weights(folder, [str(path.relative_to(folder)) for path in files])

    def listing(self) -> Listing:
        """Raises what the library raises."""
        api = HfApi()
        described = api.model_info(self.repository, revision=self.revision)
        commit = checked_commit(described.sha, self.repository)
        tree = api.list_repo_tree(self.repository, recursive=True, revision=commit)
        listed = bounded(tree, self.repository)
        files = {each.path: each for each in listed if isinstance(each, RepoFile)}
        wanted = tuple(_remote(files[name]) for name in self.selection.wanted(files))
        check_files([(file.name, file.size) for file in wanted])
        return Listing(commit, _licence(described.card_data), wanted)


@dataclass(frozen=True, slots=True)
class Pull:
    """One listing into the store."""

    model: HubModel
    store: WeightsStore
    listing: Listing
    again: tuple[str, ...] = ()
    """Files that are fetched although the manifest has them."""

    def fetch(self, progress: Progress) -> Path:
        self._refuse_what_cannot_work()
        what, total = f"downloading {self.model.repository}", self.listing.size
        fetching = FileFetch(self.model.repository, self.listing.commit, self.folder)
        files = fetching.fetch(
            self.listing.files, self.known(), lambda done: progress(what, min(done, total), total)
        )
        return self._recorded(files)

    @property
    def folder(self) -> Path:
        return self.store.folder(self.model.repository, self.listing.commit)

    def known(self) -> dict[str, StoredFile]:
        """What the manifest has of the listing."""
        manifest = read_manifest(self.folder)
        files = {} if manifest is None else manifest.files
        return {
            each.name: files[each.name]
            for each in self.listing.files
            if each.name in files and each.name not in self.again
        }

    def missing_bytes(self) -> int:
        """What is still to come: parts that are on disk take no more room."""
        known = self.known()
        missing = sum(each.size for each in self.listing.files if each.name not in known)
        begun = sum(part.stat().st_size for part in (self.folder / PARTS).glob("*"))
        return max(0, missing - begun)

    def _refuse_what_cannot_work(self) -> None:
        repository, selection = self.model.repository, self.model.selection
        sizes = {each.name: each.size for each in self.listing.files}
        if (lack := selection.lack(sizes)) is not None:
            raise ChildJobFailed(f"{repository} has {lack}")
        missing = self.missing_bytes()
        self.store.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.store.root).free - ROOM_LEFT_BYTES
        if missing and missing > free:
            raise ChildJobFailed(
                f"{repository} needs {_gb(missing)} more and {self.store.root} has "
                f"{_gb(max(free, 0))} free; make room, or name a larger disk by FJORD_WEIGHTS_DIR"
            )

    def _recorded(self, files: dict[str, StoredFile]) -> Path:
        """The manifest, and the branch that leads to it, are written last."""
        repository, selection = self.model.repository, self.model.selection
        before = read_manifest(self.folder)
        kept = {} if before is None else dict(before.files)
        manifest = WeightsManifest(
            source=repository,
            commit=self.listing.commit,
            licence=self.listing.licence,
            files={**kept, **files},
        )
        weights = selection.weights(self.folder, sorted(manifest.files))
        if weights is None:
            raise ChildJobFailed(
                f"{repository} came without weights that {selection.kind} can read"
            )
        write_manifest(self.folder, manifest)
        self.store.point(repository, self.model.revision, self.listing.commit)
        return weights


def _remote(file: RepoFile) -> RemoteFile:
    return RemoteFile(file.path, file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)


def _licence(card: Any) -> str | None:
    named = getattr(card, "license_name", None) or getattr(card, "license", None)
    return named if isinstance(named, str) else None


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Two processes that want one repository fetch it once."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    while True:
        try:
            lock.acquire(timeout=REPEAT_S)
            break
        except Timeout:
            progress("waiting: another process fetches the same model", None, None)
    try:
        yield
    finally:
        lock.release()


def failure_reason(error: BaseException, repository: str, revision: str) -> str:
    """What went wrong, where, and what would be right."""
    hub = hub_address()
    # The library wraps what it met on the way to its own "not in the cache".
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    words = f"{type(error).__name__}: {without_credentials(str(error))}"
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
                f"{repository} is not whole on this disk, and HF_HUB_OFFLINE forbids to fetch it: "
                "unset it, or name a local folder as source"
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
                f"{hub} cannot be reached for {repository} ({words}): "
                "check the network, or name a local folder as source"
            )
        case OSError(errno=28):
            return "the weights' disk is full: make room, or name another by FJORD_WEIGHTS_DIR"
        case _:
            return f"{repository} could not be fetched: {words}"


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


if __name__ == "__main__":
    child_job(fetch)
