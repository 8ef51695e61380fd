"""What a hub says of a repository is believed as far as it can be true: names, sizes, how many."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, BinaryIO

from engines.host.child_job import ChildJobFailed
from engines.registry.sources import COMMIT
from engines.weights.manifest import MANIFEST
from engines.weights.store import PARTS

MOST_FILES = 100_000
MOST_FILE_BYTES = 2**62
_NAME_BYTES = 255
"""Of a file or folder: what disks take."""


def checked_commit(commit: Any, repository: str) -> str:
    """It becomes a folder's name. Raises ChildJobFailed."""
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise ChildJobFailed(f"the hub names {_short(commit)} as a commit of {repository}")
    return commit


def bounded(entries: Iterable[Any], repository: str) -> list[Any]:
    """All of them. Raises ChildJobFailed for a list without an end."""
    found = list(islice(entries, MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise ChildJobFailed(f"{repository} has more than {MOST_FILES:,} files")
    return found


def check_files(files: Sequence[tuple[str, Any]]) -> None:
    """Names and sizes of what would be fetched. Raises ChildJobFailed where one would leave its
    folder or take the place of another."""
    folders: set[str] = set()
    names: dict[str, str] = {}
    for name, size in files:
        if not _stays_beneath(name):
            raise ChildJobFailed(f"the hub lists {_short(name)}, which is no possible file's name")
        if type(size) is not int or not 0 <= size <= MOST_FILE_BYTES:
            raise ChildJobFailed(f"the hub lists {_short(name)} with the size {_short(size)}")
        if (other := names.setdefault(name.casefold(), name)) is not name:
            raise ChildJobFailed(f"the hub lists {_short(name)} and {_short(other)}: one file")
        parts = name.casefold().split("/")
        folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
    for both in sorted(folders & names.keys()):
        raise ChildJobFailed(f"the hub lists {_short(both)} as a file and as a folder")


def _stays_beneath(name: Any) -> bool:
    """A relative path downwards, and no name that the store has for itself."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    parts = name.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > _NAME_BYTES for part in parts):
        return False
    own = parts[0].casefold()
    return own not in (MANIFEST, PARTS) and not own.startswith(f".{MANIFEST}")


def _short(value: Any) -> str:
    return repr(value if isinstance(value, str | int | float) else type(value).__name__)[:80]


class BoundedFile:
    """A part that takes no byte more than its file is listed with: who sends on fills no disk."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file, self._name, self._size = file, name, size

    def write(self, chunk: bytes) -> int:
        if self._file.tell() + len(chunk) > self._size:
            raise ChildJobFailed(
                f"{self._name} came with more than the {self._size:,} bytes that are listed; is "
                "there a proxy or mirror that changes it?"
            )
        return self._file.write(chunk)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
