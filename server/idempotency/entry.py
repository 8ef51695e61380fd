"""One request with a key: what is known of it on disk."""

from typing import Final

import msgspec

MOST_KEY: Final = 255
DAY_S: Final = 86_400.0
"""How long a key is known."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`entry_id` is made of owner, path and key, `owner` of the owner, `print` of the body: none of
    them can be read back."""

    entry_id: bytes
    owner: bytes
    print: bytes
    record_id: str
    """Of its usage record."""
    began: float
    """Unix seconds."""
    answer: bytes | None = None
    """Sealed; None: it runs, or its answer was not kept."""


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
