"""A bundle read in one pass, every byte of it foretold: header, content, zeros between, its end."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engines.bundle import seal
from engines.bundle.errors import BundleError
from engines.bundle.manifest import (
    MANIFEST,
    MOST_BYTES,
    SEAL,
    BundledFile,
    BundleManifest,
    decoded,
    id_of,
)
from engines.bundle.parts import PartsReader
from engines.bundle.tar import BLOCK, END, footprint, header, in_words, padding, size_in

CHUNK = 4 * 2**20

Progress = Callable[[str, int | None, int | None], None]
Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Opened:
    """What stands first in a bundle."""

    id: str
    manifest: BundleManifest
    seal: seal.Seal
    raw: bytes
    raw_seal: bytes


def opened(reader: PartsReader, key: bytes | None) -> Opened:
    """Reads manifest and seal, and leaves the reader behind them. Raises BundleError; also where
    `key` is given and did not sign it."""
    raw = _first(reader, MANIFEST, MOST_BYTES)
    raw_seal = _first(reader, SEAL, seal.MOST_BYTES)
    found = seal.checked(raw_seal, raw, key)
    return Opened(id_of(raw), decoded(raw), found, raw, raw_seal)


def read_file(reader: PartsReader, file: BundledFile, sink: Sink) -> None:
    """`sink` gets the bytes; that they are right is known when this returns. Raises BundleError."""
    _expect_header(reader, file.path, file.size)
    digest, left = hashlib.sha256(), file.size
    while left:
        chunk = reader.read(min(CHUNK, left))
        if not chunk:
            raise _cut(reader, f"in {file.path}")
        left -= len(chunk)
        digest.update(chunk)
        sink(chunk)
    if digest.hexdigest() != file.sha256:
        raise BundleError(
            f"{file.path} is damaged: its SHA-256 is {digest.hexdigest()[:12]}… and should be "
            f"{file.sha256[:12]}…"
        )
    _expect_zeros(reader, padding(file.size), f"after {file.path}")


def skip_file(reader: PartsReader, file: BundledFile) -> None:
    """Without reading what is here already."""
    reader.skip(footprint(file.path, file.size))
    if reader.position > reader.size:
        raise _cut(reader, f"in {file.path}")


def read_end(reader: PartsReader) -> None:
    """Nothing may stand behind the last file but tar's own end."""
    _expect_zeros(reader, len(END), "at the end")
    if reader.read(1):
        raise BundleError(f"{reader.size - reader.position + 1:,} bytes stand behind the end")


def verified(reader: PartsReader, key: bytes | None, progress: Progress) -> Opened:
    """Reads all of it. Raises BundleError with the first thing that is wrong, and where."""
    found = opened(reader, key)
    for file in _with_progress(found.manifest.carried, reader, progress):
        read_file(reader, file, lambda chunk: progress("verifying", reader.position, reader.size))
    read_end(reader)
    return found


def manifest_of(paths: list[Path]) -> tuple[str, BundleManifest]:
    """A bundle's id and manifest, without what follows. Raises BundleError."""
    with PartsReader(paths) as reader:
        found = opened(reader, None)
    return found.id, found.manifest


def _with_progress(
    files: tuple[BundledFile, ...], reader: PartsReader, progress: Progress
) -> Iterator[BundledFile]:
    for file in files:
        progress("verifying", reader.position, reader.size)
        yield file


def _first(reader: PartsReader, name: str, most: int) -> bytes:
    """A file whose size nobody has foretold: its header must be the one it would have."""
    block = reader.read(BLOCK)
    size = size_in(block) if len(block) == BLOCK else None
    if size is None or block[:100].rstrip(b"\0") != name.encode():
        found = in_words(block) if len(block) == BLOCK else "nothing"
        raise BundleError(f"this is no bundle: {found} stands where {name} should")
    if size > most:
        raise BundleError(f"{name} has {size:,} bytes; at most {most:,}")
    if block != header(name, size):
        raise BundleError(f"the header of {name} is damaged")
    content = reader.read(size)
    if len(content) < size:
        raise _cut(reader, f"in {name}")
    _expect_zeros(reader, padding(size), f"after {name}")
    return content


def _expect_header(reader: PartsReader, path: str, size: int) -> None:
    at = reader.position
    expected = header(path, size)
    block = reader.read(len(expected))
    if block != expected and expected.startswith(block):
        raise _cut(reader, f"before {path}")
    if block != expected:
        raise BundleError(
            f"at byte {at:,} stands {in_words(block)}, and the manifest says {path} with {size:,} "
            "bytes"
        )


def _expect_zeros(reader: PartsReader, count: int, where: str) -> None:
    found = reader.read(count)
    if len(found) < count:
        raise _cut(reader, where)
    if any(found):
        raise BundleError(f"{where} stand other bytes than zeros: the file is damaged there")


def _cut(reader: PartsReader, where: str) -> BundleError:
    return BundleError(
        f"the file ends {where}, after {min(reader.position, reader.size):,} bytes: it was cut; "
        "copy the rest and run the same command again, it goes on where it ended"
    )
