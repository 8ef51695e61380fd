"""manifest.json: what a bundle is, and size and SHA-256 of every file of it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.bundle.errors import BundleError

FORMAT, VERSION = "fjord-bundle", 1
MANIFEST, SEAL = "manifest.json", "manifest.sig"
MOST_BYTES = 64 * 2**20
"""Of a manifest: 200,000 files have 30 MB."""
MOST_FILES = 200_000
_PART = re.compile(r"[A-Za-z0-9_+@=,~%][A-Za-z0-9._+@=,~% -]*|\.[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledFile:
    """One file by its path within the bundle."""

    path: str
    size: int
    sha256: str
    is_in_base: bool = False
    """A delta leaves it out: an installed bundle has the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """What stands first in the file."""

    created: str
    fjord: str
    """The version that made it."""
    profile: str
    aliases: tuple[str, ...]
    platform: str
    """Of its wheels, as in linux-x86_64-cp311; empty: it has none."""
    base: str | None
    """The id of the bundle that a delta builds on."""
    files: tuple[BundledFile, ...]
    """In the order in which they stand in the file."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def carried(self) -> tuple[BundledFile, ...]:
        return tuple(file for file in self.files if not file.is_in_base)


def encoded(manifest: BundleManifest) -> bytes:
    written: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    for name in ("created", "fjord", "profile", "aliases", "platform", "base"):
        written[name] = getattr(manifest, name)
    written["files"] = [_written(file) for file in manifest.files]
    return json.dumps(written, indent=1, ensure_ascii=False).encode() + b"\n"


def _written(file: BundledFile) -> dict[str, Any]:
    written = {"path": file.path, "size": file.size, "sha256": file.sha256}
    return {**written, "is_in_base": True} if file.is_in_base else written


def id_of(raw: bytes) -> str:
    """A bundle's name: the SHA-256 of its manifest."""
    return hashlib.sha256(raw).hexdigest()


def decoded(raw: bytes) -> BundleManifest:
    """Raises BundleError; whatever the bytes are, in bounded time and memory."""
    try:
        read = json.loads(raw)
        if not isinstance(read, dict) or read.get("format") != FORMAT:
            raise BundleError(f"{MANIFEST} is not a bundle's: its format is not {FORMAT}")
        if read.get("version") != VERSION:
            raise BundleError(
                f"the bundle has version {str(read.get('version'))[:20]}, and this Fjord reads "
                f"{VERSION}; a newer Fjord would be right"
            )
        return _manifest(read)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is damaged: {str(error)[:200]}") from None


def _manifest(read: Mapping[str, Any]) -> BundleManifest:
    if len(read["files"]) > MOST_FILES:
        raise ValueError(f"{len(read['files']):,} files; at most {MOST_FILES:,}")
    files = tuple(_file(each) for each in read["files"])
    _refuse_collisions(files)
    return BundleManifest(
        created=_text(read["created"]),
        fjord=_text(read["fjord"]),
        profile=_text(read["profile"]),
        aliases=tuple(_text(alias) for alias in read["aliases"]),
        platform=_text(read["platform"]),
        base=None if read["base"] is None else _sha256(read["base"]),
        files=files,
    )


def _file(read: Mapping[str, Any]) -> BundledFile:
    size, is_in_base = read["size"], read.get("is_in_base", False)
    if type(size) is not int or not 0 <= size < 2**60 or type(is_in_base) is not bool:
        raise ValueError(f"{str(read['path'])[:80]!r} has no possible size")
    return BundledFile(
        path=safe_path(read["path"]),
        size=size,
        sha256=_sha256(read["sha256"]),
        is_in_base=is_in_base,
    )


def safe_path(path: Any) -> str:
    """Relative, downwards, of plain names: it stays beneath the folder it is written to. Raises
    ValueError."""
    if not isinstance(path, str) or len(path) > 400 or path in (MANIFEST, SEAL):
        raise ValueError(f"{str(path)[:80]!r} is no possible path")
    if not all(_PART.fullmatch(part) and part[-1] not in ". " for part in path.split("/")):
        raise ValueError(f"{path[:80]!r} is no possible path: it would leave its folder, or hide")
    return path


def _refuse_collisions(files: Sequence[BundledFile]) -> None:
    """A name twice, also by its case, or a file where another needs a folder."""
    seen: set[str] = set()
    for file in files:
        if (folded := file.path.casefold()) in seen:
            raise ValueError(f"{file.path!r} stands in it twice")
        seen.add(folded)
    folders = {
        path.rsplit("/", depth)[0] for path in seen for depth in range(1, path.count("/") + 1)
    }
    for both in seen & folders:
        raise ValueError(f"{both!r} is a file and a folder")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 500 or not value.isprintable():
        raise ValueError(f"{str(value)[:80]!r} is no short text")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is no SHA-256")
    return value
