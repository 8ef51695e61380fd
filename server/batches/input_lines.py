"""An input file's lines, whatever they hold, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import msgspec

_BOM: Final = b"\xef\xbb\xbf"
_SKIPPED_AT_ONCE: Final = 2**16
LONGEST_CUSTOM_ID: Final = 512


class NotALine(Exception):
    """It cannot be a request: an OpenAI error code, and words fit for a client."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


class BatchLine(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch, as it is written."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class NamedBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch asks of every body."""

    model: str
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class RawLine:
    number: int
    """From 1, blank lines counted."""
    text: bytes | None
    """None: it is longer than a line may be."""


_line = msgspec.json.Decoder(BatchLine).decode
_body = msgspec.json.Decoder(NamedBody).decode


def raw_lines(file: BinaryIO, most_bytes: int) -> Iterator[RawLine]:
    """All but blank ones. A line's end may be CRLF, the file's begin a byte order mark."""
    number = 0
    while text := file.readline(most_bytes + 1):
        number += 1
        if len(text) > most_bytes and not text.endswith(b"\n"):
            _skip_rest(file)
            yield RawLine(number, None)
            continue
        if number == 1:
            text = text.removeprefix(_BOM)
        if text := text.strip():
            yield RawLine(number, text)


def _skip_rest(file: BinaryIO) -> None:
    while piece := file.readline(_SKIPPED_AT_ONCE):
        if piece.endswith(b"\n"):
            return


def read_line(text: bytes) -> BatchLine:
    """Raises NotALine."""
    try:
        line = _line(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        code = "invalid_json_line"
        if isinstance(error, msgspec.ValidationError):
            code = "missing_required_parameter"
        raise NotALine(code, f"This line is no request: {_reason(error)}.") from None
    if not 1 <= len(line.custom_id) <= LONGEST_CUSTOM_ID:
        what = f"custom_id must have 1 to {LONGEST_CUSTOM_ID} characters."
        raise NotALine("invalid_custom_id", what, "custom_id")
    return line


def named_body(line: BatchLine) -> NamedBody:
    """Raises NotALine."""
    try:
        return _body(line.body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        what = f"The body is wrong: {_reason(error)}."
        raise NotALine("missing_required_parameter", what, "body") from None


def _reason(error: Exception) -> str:
    """Bounded: an error quotes a member's name."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = str(error).encode("utf-8", "replace").decode()
    return text if len(text) <= 160 else text[:159] + "…"
