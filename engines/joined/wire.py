"""The messages of a link between a head and a joined node: a line of JSON each."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from engines.joined.facts import JoinedFacts, Name, Text

LINK_VERSION: Final = 1
MOST_LINE: Final = 256 * 1024
"""Bytes of one message."""
BEAT_S: Final = 1.0
"""Each side says something this often."""
LOST_S: Final = 5.0
"""Who was silent for so long is lost."""
MOST_HALVES: Final = 64

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Number = Annotated[int, Meta(ge=0, le=2**53)]
Parts: TypeAlias = Annotated[tuple["PartState", ...], Meta(max_length=MOST_HALVES)]


class PartState(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an engine that runs on a node."""

    id: Id
    engine: Text
    state: Literal["starting", "running", "frozen", "ended"]
    words: Text = ""
    """ended: why, in its own last words."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello", tag_field="is"):
    """A node's first word."""

    version: Number
    facts: JoinedFacts
    session: Id
    """The same for as long as its process lives."""
    head: Annotated[str, Meta(max_length=128)] = ""
    """The head whose parts it has; "": it has none."""
    parts: Parts = ()


class NodeBeat(msgspec.Struct, frozen=True, kw_only=True, tag="beat", tag_field="is"):
    """It lives, and what it has."""

    parts: Parts = ()
    free: Annotated[tuple[Number, ...], Meta(max_length=64)] = ()
    """Bytes of each of its cards that nobody holds."""
    doing: Text = ""
    """What it works at for its head, in words."""


class NodeLeave(msgspec.Struct, frozen=True, tag="leave", tag_field="is"):
    """It ends, and with it every part it has."""


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="answer", tag_field="is"):
    """Of a TaskAsked: a result, or why there is none."""

    id: Number
    result: dict[str, Any] | None = None
    error: Annotated[str, Meta(max_length=2000)] = ""


class NodeWelcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome", tag_field="is"):
    """A head's first word. The node ends what parts are not named."""

    head: Id
    """The same for as long as its process lives."""
    parts: Annotated[tuple[Id, ...], Meta(max_length=MOST_HALVES)] = ()


class HeadBeat(msgspec.Struct, frozen=True, tag="beat", tag_field="is"):
    """It lives."""


class TaskAsked(msgspec.Struct, frozen=True, kw_only=True, tag="ask", tag_field="is"):
    """Do a named task."""

    id: Number
    task: Name
    arguments: dict[str, Any]
    timeout_s: Annotated[float, Meta(gt=0, le=10 * 86_400)]


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel", tag_field="is"):
    """Nobody waits for a TaskAsked's answer any more."""

    id: Number


class Bye(msgspec.Struct, frozen=True, tag="bye", tag_field="is"):
    """The head ends, and with it every part."""


FromNode: TypeAlias = Hello | NodeBeat | NodeLeave | TaskAnswer
FromHead: TypeAlias = NodeWelcome | HeadBeat | TaskAsked | Cancel | Bye
Said: TypeAlias = FromNode | FromHead

_FROM_NODE = msgspec.json.Decoder(FromNode)
_FROM_HEAD = msgspec.json.Decoder(FromHead)


class BadMessage(ValueError):
    """What came is no message of a link. Its words hold nothing of it."""


def line_of_message(message: Said) -> bytes:
    """Raises BadMessage for one that is too long."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > MOST_LINE:
        raise BadMessage(f"a message of {len(line)} bytes, more than {MOST_LINE}")
    return line


def from_node(line: bytes) -> FromNode:
    """Raises BadMessage."""
    said: FromNode = _decoded(_FROM_NODE, line)
    return said


def from_head(line: bytes) -> FromHead:
    """Raises BadMessage."""
    said: FromHead = _decoded(_FROM_HEAD, line)
    return said


def _decoded(decoder: "msgspec.json.Decoder[Any]", line: bytes) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"it is no message of a link: {str(error)[:200]}") from None


def plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result as JSON has it: paths, tuples and structs among it are what they become there."""
    told: dict[str, Any] = msgspec.to_builtins(result, enc_hook=str)
    return told


class MessageLines:
    """Bytes as they come -> whole lines, without their ends."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Raises BadMessage once a line is longer than any message."""
        first, *more = piece.split(b"\n")
        self._rest += first  # what is there already is not read again
        whole = []
        for begun in more:
            whole.append(self._bounded())
            self._rest = bytearray(begun)
        self._bounded()
        return [line for line in whole if line]

    def _bounded(self) -> bytes:
        if len(self._rest) >= MOST_LINE:
            raise BadMessage(f"a message longer than {MOST_LINE} bytes")
        return bytes(self._rest)
