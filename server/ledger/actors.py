"""Who changes something: a key or the operator's token over HTTP, or somebody at this machine."""

import os
import pwd
import socket
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

ActorKind: TypeAlias = Literal["key", "member", "operator", "command"]
_MOST_NAME: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """As the audit log names them."""

    kind: ActorKind
    """operator: whoever has the server's own token."""
    name: str
    """A key's or member's id, or a user of this machine: user@host."""
    address: str = ""
    """Of the client; empty at a terminal, or behind a Unix socket."""


def at_this_machine() -> Actor:
    """Whoever runs this process, as the system has it: not as its environment says."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's user may have no name
        user = f"uid {uid}"
    return Actor(kind="command", name=f"{user}@{socket.gethostname()}"[:_MOST_NAME])
