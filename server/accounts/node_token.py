"""The secret that a server and the nodes that join it have in common."""

import os
import re
from pathlib import Path
from typing import Final

from server.refusal import CannotStart

VARIABLE: Final = "FJORD_NODE_TOKEN"
SHORTEST: Final = 16
LONGEST: Final = 1024
_FORM: Final = re.compile(r"[!-~]+")
_MAKE = "make one with `openssl rand -hex 32`"


def node_token(token: str | None, file: Path | None) -> str:
    """From the environment, which has it no more then (engines' processes need not know it), or the
    first line of a file; "": there is none. Raises CannotStart, which never says it."""
    os.environ.pop(VARIABLE, None)
    if token and file is not None:
        raise CannotStart(
            "FJORD_NODE_TOKEN and --node-token-file are both given: one of them is enough."
        )
    if file is not None:
        return _checked(_read(file), f"--node-token-file {file}")
    return _checked(token, "FJORD_NODE_TOKEN") if token else ""


def _read(file: Path) -> str:
    try:
        with file.open(encoding="ascii") as opened:
            return opened.readline(LONGEST + 2).strip()
    except OSError as error:
        raise CannotStart(f"--node-token-file {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CannotStart(f"--node-token-file {file} is no text: {_MAKE}.") from None


def _checked(token: str, where: str) -> str:
    token = token.strip()
    if not SHORTEST <= len(token) <= LONGEST or not _FORM.fullmatch(token):
        raise CannotStart(
            f"{where} is wrong: right would be {SHORTEST} to {LONGEST} characters without spaces; "
            f"{_MAKE}."
        )
    return token
