"""One request with a key: what is known of it."""

from typing import Final

import msgspec

MOST_KEY: Final = 255
DAY_S: Final = 86_400.0
"""How long a key is known."""
MOST_KEYS: Final = 100_000
"""Of an owner in a day."""


class TooManyKeys(Exception):
    """The owner has used as many as may be in a day."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`entry_id` is made of owner, path and key, `print` of the body: neither can be read back."""

    entry_id: bytes
    owner: bytes
    """As SiteSecret names it."""
    print: bytes
    record_id: str
    """Of its usage record; "": it has none."""
    began: float
    """Unix seconds."""
    answer: bytes | None = None
    """Sealed; None: it runs, or its answer was not kept."""
    node: str = ""
    """The process that answers it; "": this node has its keys alone."""
    runs: bool = False
    """Whether another process of the site answers it now."""
    is_over: bool = False
    """Whether that process said that it had ended."""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What was answered: all of it but the headers that are an exchange's own."""

    status: int
    media_type: bytes
    is_stream: bool
    body: bytes

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)


def unpacked(packed: bytes) -> Answer:
    """Raises msgspec.MsgspecError."""
    return msgspec.msgpack.decode(packed, type=Answer)
