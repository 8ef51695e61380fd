"""In the child that speaks with the hub: a commit's files into a plain folder, several at once.

A part keeps its name, so that a later process goes on where it ended. A file gets its own name when
it is whole and its hash is the hub's; the manifest names it when all are there.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from huggingface_hub import constants, get_token, hf_hub_url
from huggingface_hub.file_download import http_get

from engines.host.child_job import ChildJobFailed
from engines.weights.hub_address import hub_address
from engines.weights.listed import BoundedFile
from engines.weights.manifest import StoredFile
from engines.weights.store import PARTS

AT_ONCE = 8
POLL_S = 0.5
_CHUNK = 2**20


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the hub lists it: its SHA-256 where the hub has one, else git's own hash."""

    name: str
    size: int
    sha256: str | None
    blob_id: str

    @property
    def etag(self) -> str:
        return self.sha256 or self.blob_id


@dataclass(frozen=True, slots=True)
class FileFetch:
    """One commit's files into `folder`."""

    source: str
    commit: str
    folder: Path
    seen: dict[str, int] = field(default_factory=dict)
    """Bytes on disk, by file, of what is whole."""

    def fetch(
        self,
        files: Sequence[RemoteFile],
        known: Mapping[str, StoredFile],
        told: Callable[[int], None],
    ) -> dict[str, StoredFile]:
        """What is there afterwards. `known` is taken as it is; `told` gets the bytes on disk."""
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        self.seen.update({each.name: each.size for each in files if each.name in known})
        missing = [each for each in files if each.name not in known]
        with _told_meanwhile(lambda: told(self._on_disk(files))):
            fetched = dict(zip([f.name for f in missing], self._all(missing), strict=True))
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        return {**{each.name: known[each.name] for each in files if each.name in known}, **fetched}

    def _all(self, files: Sequence[RemoteFile]) -> list[StoredFile]:
        """The first failure ends the others: the child that this runs in ends with it."""
        pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
        try:
            return list(pool.map(self._one, files))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, file: RemoteFile) -> StoredFile:
        part, path = self._part(file), self.folder / file.name
        if path.is_file():  # of a pull that was ended before its manifest, or damaged
            os.replace(path, part)
        for is_last in (False, True):
            self._get(file, part)
            stored = StoredFile(part.stat().st_size, _sha256_if(part, file, is_last))
            if stored.sha256:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, path)
                self.seen[file.name] = file.size
                return stored
        raise AssertionError("the last turn raises")

    def _get(self, file: RemoteFile, part: Path) -> None:
        if not part.exists() and (blob := self._cached(file)) is not None:
            _link_or_copy(blob, part)
        have = part.stat().st_size if part.exists() else 0
        if have > file.size:
            have = 0
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            if have < file.size:
                self._go_on(file, out, have)

    def _go_on(self, file: RemoteFile, out: BinaryIO, have: int) -> None:
        try:
            http_get(
                hf_hub_url(self.source, file.name, revision=self.commit),
                cast(BinaryIO, BoundedFile(out, file.name, file.size)),
                resume_size=have,
                headers=_headers(),
                expected_size=file.size,
                displayed_filename=file.name,
            )
        except OSError as error:
            if type(error) is not OSError or error.errno is not None:
                raise
            raise ChildJobFailed(  # the library's word for an answer that ended early
                f"{file.name} came with {out.tell():,} bytes of the {file.size:,} that are listed; "
                "is there a proxy or mirror that changes it?"
            ) from None

    def _part(self, file: RemoteFile) -> Path:
        """Named by what it will be: another commit's part of the same name is not gone on with."""
        digest = hashlib.sha256(f"{file.name} {file.etag}".encode()).hexdigest()
        return self.folder / PARTS / digest[:40]

    def _cached(self, file: RemoteFile) -> Path | None:
        """The same bytes, where the hub's own cache has them."""
        blob = blobs(self.source) / file.etag
        is_there = blob.is_file() and blob.stat().st_size == file.size
        return blob if is_there else None

    def _on_disk(self, files: Sequence[RemoteFile]) -> int:
        total = 0
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # not begun, or renamed meanwhile
                total += self.seen.get(file.name) or self._part(file).stat().st_size
        return total


def _headers() -> dict[str, str]:
    """HF_TOKEN, or what `hf auth login` kept; it goes to the hub alone, not where that sends us."""
    token = get_token()
    return {"authorization": f"Bearer {token}"} if token else {}


def blobs(repository: str) -> Path:
    """The folder in the hub's own cache that has one repository's files."""
    return Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}", "blobs")


@contextlib.contextmanager
def _told_meanwhile(tell: Callable[[], None]) -> Iterator[None]:
    """`tell` is called every POLL_S while the block runs, and once after it."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            tell()
        tell()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _sha256_if(part: Path, file: RemoteFile, is_last: bool) -> str:
    """Of a part whose bytes are the hub's; "" at the first mistake, the part then being gone.
    Raises ChildJobFailed at the last."""
    digest = _hash_fits(part, file)
    if not digest:
        part.unlink()
        if is_last:
            raise ChildJobFailed(
                f"{file.name} came with other bytes than {hub_address()} lists (its hash "
                "differs); is there a proxy or mirror that changes it?"
            )
    return digest


def _hash_fits(path: Path, file: RemoteFile) -> str:
    """The SHA-256 where the bytes are those that the hub lists, else ""."""
    sha256 = hashlib.sha256()
    # Not for security: it is how git names a file.
    git = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    hashes = [sha256] if file.sha256 else [sha256, git]
    with path.open("rb") as read:
        while chunk := read.read(_CHUNK):
            for each in hashes:
                each.update(chunk)
    fits = sha256.hexdigest() == file.sha256 if file.sha256 else git.hexdigest() == file.blob_id
    return sha256.hexdigest() if fits else ""


def _link_or_copy(source: Path, target: Path) -> None:
    """Linked where both are on one disk: the hub's cache keeps its own name for it."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
