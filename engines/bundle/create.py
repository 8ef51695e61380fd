"""A bundle made: its pieces hashed, the manifest sealed, everything written in one stream."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.bundle import seal
from engines.bundle.contents import BundlePiece
from engines.bundle.errors import BundleError
from engines.bundle.manifest import (
    MANIFEST,
    MOST_BYTES,
    SEAL,
    BundledFile,
    BundleManifest,
    decoded,
    encoded,
    id_of,
)
from engines.bundle.parts import PartsWriter
from engines.bundle.read import CHUNK, Progress
from engines.bundle.tar import END, footprint, header, padding

README = """\
This is a Fjord bundle: models, and what serves them, in one tar file. docs/bundle.md says how it is
made and what is checked.

    tar -xf FILE fjord         (where Fjord is not here yet)
    cd fjord && make serve BUNDLE=../FILE
"""


@dataclass(frozen=True, slots=True)
class About:
    """What a manifest says beside its files."""

    created: str
    fjord: str
    profile: str
    aliases: tuple[str, ...]
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """What was written."""

    id: str
    files: Sequence[Path]
    manifest: BundleManifest
    bytes: int


def create(
    pieces: Iterable[BundlePiece],
    about: About,
    output: Path,
    progress: Progress,
    *,
    part_bytes: int | None = None,
    private_key: Path | None = None,
    base: tuple[str, BundleManifest] | None = None,
) -> Created:
    """`base`: the id and manifest of a bundle whose files are left out. Raises BundleError."""
    ordered = _once([BundlePiece("README.txt", README.encode()), *pieces])
    held = set() if base is None else {file.sha256 for file in base[1].files}
    files = [_bundled(piece, held, progress) for piece in ordered]
    manifest = BundleManifest(
        created=about.created,
        fjord=about.fjord,
        profile=about.profile,
        aliases=about.aliases,
        platform=about.platform,
        base=None if base is None else base[0],
        files=tuple(files),
    )
    raw = encoded(manifest)
    if len(raw) > MOST_BYTES:
        raise BundleError(f"the manifest has {len(raw):,} bytes, at most {MOST_BYTES:,}")
    decoded(raw)  # what is written can be read
    sealed = seal.seal(raw, private_key)
    writer = PartsWriter(output, part_bytes)
    try:
        size = _write(writer, raw, sealed, _carried(ordered, files), progress)
        return Created(id_of(raw), writer.finish(), manifest, size)
    except OSError as error:
        raise BundleError(f"{output} cannot be written: {error.strerror or error}") from None
    finally:
        writer.abandon()


def _once(pieces: Sequence[BundlePiece]) -> list[BundlePiece]:
    """Two engines may want one folder's files."""
    return list({piece.path: piece for piece in pieces}.values())


def _bundled(piece: BundlePiece, held: set[str], progress: Progress) -> BundledFile:
    """What a manifest of weights says is believed here, and compared as it is written."""
    if isinstance(piece.content, bytes):
        sha256, size = hashlib.sha256(piece.content).hexdigest(), len(piece.content)
    elif piece.sha256 is not None and piece.size is not None and piece.sha256 not in held:
        sha256, size = piece.sha256, piece.size
    else:
        progress("reading", None, None)
        sha256, size = _hashed(piece.content)
    return BundledFile(path=piece.path, size=size, sha256=sha256, is_in_base=sha256 in held)


def _carried(
    pieces: Sequence[BundlePiece], files: Sequence[BundledFile]
) -> list[tuple[BundlePiece, BundledFile]]:
    both = zip(pieces, files, strict=True)
    return [(piece, file) for piece, file in both if not file.is_in_base]


def _write(
    writer: PartsWriter,
    raw: bytes,
    sealed: bytes,
    carried: Sequence[tuple[BundlePiece, BundledFile]],
    progress: Progress,
) -> int:
    """-> bytes written."""
    total = footprint(MANIFEST, len(raw)) + footprint(SEAL, len(sealed)) + len(END)
    total += sum(footprint(file.path, file.size) for _, file in carried)
    done = 0
    for chunk in _stream(raw, sealed, carried):
        writer.write(chunk)
        done += len(chunk)
        progress("writing", done, total)
    return done


def _stream(
    raw: bytes, sealed: bytes, carried: Sequence[tuple[BundlePiece, BundledFile]]
) -> Iterator[bytes]:
    for name, content in ((MANIFEST, raw), (SEAL, sealed)):
        yield header(name, len(content)) + content + bytes(padding(len(content)))
    for piece, file in carried:
        yield header(file.path, file.size)
        yield from _content(piece, file)
        yield bytes(padding(file.size))
    yield END


def _content(piece: BundlePiece, file: BundledFile) -> Iterator[bytes]:
    """Raises BundleError where the bytes are others than the manifest has by now."""
    if isinstance(piece.content, bytes):
        yield piece.content
        return
    digest, size = hashlib.sha256(), 0
    with piece.content.open("rb") as read:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if size > file.size:
                break
            yield chunk
    if (digest.hexdigest(), size) != (file.sha256, file.size):
        raise BundleError(
            f"{piece.content} is not what its manifest says, or changed meanwhile; "
            "`fjord weights verify --repair` mends weights"
        )


def _hashed(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as read:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
