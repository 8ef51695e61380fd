"""The site's key: 32 bytes in base64, in a file that its owner alone reads."""

import base64
import os
from pathlib import Path
from typing import Final

from engines.host.synced import synced, write_synced
from server.refusal import CannotStart

FILE_NAME: Final = "memory.key"
BYTES: Final = 32
_MOST_BYTES: Final = 1024


def read_site_key(path: Path) -> bytes:
    """Raises CannotStart, which repeats nothing of it."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES)
        key = base64.b64decode(text.strip(), validate=True)
    except OSError as error:
        raise CannotStart(f"The memory's key {path} cannot be read: {error.strerror}.") from None
    except ValueError:
        key = b""
    if len(key) != BYTES:
        raise CannotStart(
            f"{path} holds no key of the memory: right would be {BYTES} bytes in base64, as "
            f"`openssl rand -base64 {BYTES}` writes them."
        )
    return key


def made_site_key(path: Path) -> bytes:
    """A new one, durable before anything is sealed with it. Raises OSError, FileExistsError."""
    key = os.urandom(BYTES)
    part = path.with_name(f"{path.name}.part")
    write_synced(part, base64.b64encode(key) + b"\n")
    os.link(part, path)  # never over one that is there
    part.unlink()
    synced(path.parent)
    return key
