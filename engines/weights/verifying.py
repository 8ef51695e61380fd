"""Whether weights on this disk are, byte for byte, those that were fetched."""

import concurrent.futures
import errno
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from engines.base import EngineUnavailable
from engines.host.child_job import REPEAT_S, Progress
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import Source
from engines.weights.manifest import MANIFEST, BadManifest, StoredFile, read_manifest
from engines.weights.packaged_model import converted_files
from engines.weights.packages import files_of, recorded_sha256
from engines.weights.store import selection_of

AT_ONCE = 4
GIT_DIGITS = 40
_CHUNK = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Damage:
    """One file that is not what it was."""

    name: str
    what: str
    """As in "is missing"."""

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


@dataclass(frozen=True, slots=True)
class _Expected:
    """One file, and what is known of it. Its hash is a SHA-256, or git's where it has 40 digits."""

    name: str
    path: Path
    digest: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`files` were compared; 0: nothing says what the bytes should be, and `why` says why."""

    files: int
    damage: tuple[Damage, ...] = ()
    why: str = ""


def verify(spec: Source, path: Path, progress: Progress) -> Verdict:
    """Reads every byte of the weights at `path` (a folder, or a GGUF file), which are `spec`'s;
    blocks, as long as the disk takes. An exception that `progress` raises ends it. Raises
    EngineUnavailable where the manifest cannot be read."""
    try:
        expected = _expected(spec, path)
    except BadManifest as error:
        raise EngineUnavailable(str(error)) from None
    if not expected:
        return Verdict(0, why=_unknown(spec))
    damage = _compared(expected, progress, f"verifying {spec.source}")
    return Verdict(len(expected), tuple(damage))


def refuse_damaged(spec: Source, path: Path, progress: Progress) -> None:
    """Raises EngineUnavailable with the files that are not what they were."""
    damage = verify(spec, path, progress).damage
    if damage:
        more = f" and {len(damage) - 3} more" if len(damage) > 3 else ""
        raise EngineUnavailable(
            f"The weights of {spec.source} are damaged: {'; '.join(map(str, damage[:3]))}{more}. "
            "`fjord weights verify --repair` mends them."
        )


def _expected(spec: Source, path: Path) -> list[_Expected]:
    folder = path if path.is_dir() else path.parent
    if spec.source.startswith(PACKAGE):
        return _of_package(spec.source.removeprefix(PACKAGE), folder)
    manifest = read_manifest(folder)
    if manifest is None:
        return [] if is_local(spec.source) else _of_cache(folder)
    wanted = manifest.files if is_local(spec.source) else selection_of(spec).wanted(manifest.files)
    return [_stored(folder, name, manifest.files[name]) for name in sorted(wanted)]


def _stored(folder: Path, name: str, file: StoredFile) -> _Expected:
    return _Expected(name, folder / name, file.sha256, file.size)


def _of_package(package: str, folder: Path) -> list[_Expected]:
    """As pip recorded it, or as the conversion of it did."""
    if (converted := converted_files(folder)) is not None:
        return [_Expected(name, folder / name, digest) for name, digest in converted.items()]
    found = []
    for file in files_of(package):
        located, digest = Path(file.locate()), recorded_sha256(file)
        if digest and located.parent == folder:
            found.append(_Expected(file.name, located, digest, file.size))
    return found


def _of_cache(folder: Path) -> list[_Expected]:
    """The hub's own cache names its files by their hashes: SHA-256, or git's."""
    links = sorted(path for path in folder.rglob("*") if path.is_symlink())
    return [
        _Expected(str(link.relative_to(folder)), link, os.readlink(link).rsplit("/", 1)[-1])
        for link in links
    ]


def _unknown(spec: Source) -> str:
    if is_local(spec.source):
        return f"{spec.source} has no {MANIFEST}: nothing says what its bytes should be"
    return f"nothing says what the bytes of {spec.source} should be"


class _Reading:
    """How far the threads are, and whether anybody still wants to know."""

    def __init__(self) -> None:
        self.done = 0
        self.is_over = False
        self._lock = threading.Lock()

    def count(self, size: int) -> None:
        if self.is_over:
            raise concurrent.futures.CancelledError
        with self._lock:
            self.done += size


def _compared(files: Sequence[_Expected], progress: Progress, what: str) -> Iterator[Damage]:
    reading, total = _Reading(), sum(_size(file) for file in files)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            work = [pool.submit(_what_is_wrong, file, reading) for file in files]
            while concurrent.futures.wait(work, timeout=REPEAT_S).not_done:
                progress(what, reading.done, total)
            progress(what, reading.done, total)
        except BaseException:
            reading.is_over = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for file, each in zip(files, work, strict=True):
        if (wrong := each.result()) is not None:
            yield Damage(file.name, wrong)


def _size(file: _Expected) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        return 0


def _what_is_wrong(file: _Expected, reading: _Reading) -> str | None:
    try:
        size = file.path.stat().st_size
        if file.size not in (None, size):
            return f"has {size:,} bytes and should have {file.size:,}"
        digest = _digest(file, size, reading)
    except OSError as error:
        return "is missing" if error.errno == errno.ENOENT else f"is unreadable: {error.strerror}"
    if digest != file.digest:
        return f"has the SHA-256 {digest[:12]}… and should have {file.digest[:12]}…"
    return None


def _digest(file: _Expected, size: int, reading: _Reading) -> str:
    is_git = len(file.digest) == GIT_DIGITS
    # Not for security: it is how git, and so the hub's cache, names small files.
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if is_git else sha256()
    with file.path.open("rb") as read:
        while chunk := read.read(_CHUNK):
            digest.update(chunk)
            reading.count(len(chunk))
    return digest.hexdigest()
