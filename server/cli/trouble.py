"""What goes wrong with books, disks and files, told in one line with exit status 2."""

import errno
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from server.cli.options import failed
from server.ledger.errors import LedgerError

ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def told() -> Iterator[None]:
    """For the work with the books. Raises typer.Exit: a write that failed has changed nothing."""
    try:
        yield
    except LedgerError as error:
        raise failed(str(error)) from None
    except sqlite3.Error as error:
        raise failed(f"The ledger cannot be used: {error}. Nothing was changed.") from None
    except BrokenPipeError:  # of the output: main knows
        raise
    except OSError as error:
        raise failed(why(error)) from None
    except Exception as error:
        if not type(error).__module__.startswith("psycopg"):
            raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise failed(f"The site's database does not serve: {lines[0]}.") from None


def why(error: OSError, what: object = None) -> str:
    """The file, and what is wrong with it or its disk."""
    named = what or error.filename or "the output"
    hint = " Make room and try again." if error.errno in ROOM else ""
    return f"{named} cannot be written: {error.strerror or error}.{hint}"


@contextmanager
def whole(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Where to write what `path` will be, with the rights of `mode` that the process gives: it is
    there as a whole or as it was. Raises typer.Exit where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise failed(why(error, path)) from None
    part = Path(name)
    try:
        yield part
        part.chmod(mode & ~_umask())
        part.replace(path)
    except OSError as error:
        raise failed(why(error, path)) from None
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    """The process' own; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def give_up_output() -> None:
    """What is left of the output goes nowhere: Python would try again, and complain, at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
