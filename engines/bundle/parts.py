"""One stream of bytes in one file or several: FILE, or FILE.001, FILE.002, …"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from engines.bundle.errors import BundleError


class PartsReader:
    """Reads the parts one after another; `position` counts over all of them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sizes = [(path, _size(path)) for path in paths]
        self.position = 0
        self._index = 0
        self._file: IO[bytes] | None = None

    @property
    def size(self) -> int:
        return sum(size for _, size in self._sizes)

    def read(self, count: int) -> bytes:
        """As many as asked for, fewer only at the end."""
        chunks = []
        while count and (file := self._current()) is not None:
            chunk = file.read(count)
            if not chunk:
                self._next()
                continue
            chunks.append(chunk)
            count -= len(chunk)
            self.position += len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def skip(self, count: int) -> None:
        """Without reading what stands there; it may be beyond the end."""
        target = self.position + count
        self.close()
        self.position = target
        self._index = 0
        for _, size in self._sizes:
            if target < size:
                break
            target -= size
            self._index += 1
        if (file := self._current()) is not None:
            file.seek(target)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _current(self) -> IO[bytes] | None:
        if self._file is None and self._index < len(self._sizes):
            self._file = _opened(self._sizes[self._index][0])
        return self._file

    def _next(self) -> None:
        self.close()
        self._index += 1

    def __enter__(self) -> "PartsReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class PartsWriter:
    """Writes beside the final names, which they get at the end: nothing half made has one."""

    def __init__(self, path: Path, part_bytes: int | None) -> None:
        self._path, self._part_bytes = path, part_bytes
        self._parts: list[Path] = []
        self._file: IO[bytes] | None = None
        self._left = 0

    def write(self, content: bytes) -> None:
        while content:
            if self._file is None or not self._left:
                self._begin()
            assert self._file is not None
            piece = content[: self._left]
            self._file.write(piece)
            self._left -= len(piece)
            content = content[len(piece) :]

    def finish(self) -> list[Path]:
        """The files, in their order."""
        self._end()
        names = [_final(part) for part in self._parts]
        for part, name in zip(self._parts, names, strict=True):
            part.replace(name)
        self._parts = []
        return names

    def abandon(self) -> None:
        """What was not finished goes."""
        if self._file is not None:
            self._file.close()
        for part in self._parts:
            part.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._end()
        suffix = "" if self._part_bytes is None else f".{len(self._parts) + 1:03}"
        part = self._path.with_name(f".{self._path.name}{suffix}.part")
        self._file = part.open("wb")
        self._parts.append(part)
        self._left = 2**62 if self._part_bytes is None else self._part_bytes

    def _end(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def all_parts(paths: Sequence[Path]) -> list[Path]:
    """FILE.001 alone stands for all its parts; else as they are given. Raises BundleError where
    one is missing, or they are not in their order."""
    found = list(paths)
    if len(found) == 1 and (name := re.fullmatch(r"(.+)\.001", found[0].name)):
        found = sorted(found[0].parent.glob(f"{_escaped(name[1])}.[0-9][0-9][0-9]"))
    numbers = [re.fullmatch(r".+\.(\d{3})", path.name) for path in found]
    if len(found) > 1 and all(numbers):
        given = [int(number[1]) for number in numbers if number]
        if given != list(range(1, len(given) + 1)):
            right = ", ".join(f".{n:03}" for n in range(1, 4))
            raise BundleError(
                f"the parts are .{', .'.join(f'{n:03}' for n in given)}; right would be {right}, … "
                "with none left out"
            )
    return found


def _escaped(name: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", name)


def _final(part: Path) -> Path:
    return part.with_name(part.name.removeprefix(".").removesuffix(".part"))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path} is no file")
    return found.st_size
