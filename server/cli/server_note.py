"""What a running server notes in its data directory: how commands on its machine reach it.

Whoever may read it may read the ledger as well; to others it is not there."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from server.accounts.private_files import read_private, write_private
from server.cli.link import Link

NOTE_NAME = "listening"


@dataclass(frozen=True, slots=True)
class ServerNote:
    """Where a server answers."""

    api: Link
    ops: Link | None = None
    """Of what operators ask for, where that is apart."""


def write_note(data_dir: Path, note: ServerNote) -> None:
    """It is there as a whole or as it was. Raises OSError."""
    path = data_dir / NOTE_NAME
    part = path.with_suffix(".new")
    write_private(part, json.dumps({**asdict(note), "process": os.getpid()}))
    part.replace(path)


def read_note(data_dir: Path) -> ServerNote | None:
    """Of the server that runs on this data directory; None where none does, or none that this
    user may know of."""
    text = read_private(data_dir / NOTE_NAME)
    if text is None:
        return None
    try:
        found = json.loads(text)
        ops = None if found["ops"] is None else Link(**found["ops"])
        return ServerNote(Link(**found["api"]), ops) if _runs(int(found["process"])) else None
    except (ValueError, KeyError, TypeError):
        return None


def _runs(pid: int) -> bool:
    """A server that was killed takes nothing back."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
