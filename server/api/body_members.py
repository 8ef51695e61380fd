"""How many members a JSON body has, before it is parsed: Python's objects of them are made in one
step that no other thread interrupts. Knows nothing of what they mean."""

from typing import NamedTuple

from engines.host.interpreter_turns import give_way

MAX_VALUES, MAX_NUMBERS = 32_768, 262_144
"""Strings, arrays and objects, and commas (numbers, then): 0.5 and 0.1 µs each."""
MAX_BARE_BYTES = 8 * MAX_NUMBERS
"""Outside of strings: the longest numbers are twice as much work as a token's id."""
MAX_ESCAPES = 524_288
"""Backslashes in strings: 15 ns each."""
MOST_MEMBERS = (
    f"at most {MAX_VALUES} strings, arrays and objects, {MAX_NUMBERS} numbers,"
    f" {MAX_BARE_BYTES} bytes outside of strings and {MAX_ESCAPES} escapes in them"
)
_STEP_BYTES = 128 * 1024
"""One call of a bytes method keeps all other threads waiting: 0.1 ms for so much."""
_CONSTANTS = (b"NaN", b"-Infinity", b"Infinity")
_LONGEST_CONSTANT = 9


class Members(NamedTuple):
    """Counted up to where they are too many."""

    values: int
    commas: int
    bare_bytes: int
    escapes: int
    constant: str | None
    """NaN, Infinity or -Infinity, which are no JSON, where one stands outside of strings."""

    @property
    def is_too_much(self) -> bool:
        return (
            self.values > MAX_VALUES
            or self.commas > MAX_NUMBERS
            or self.bare_bytes > MAX_BARE_BYTES
            or self.escapes > MAX_ESCAPES
        )

    def and_strings(self, count: int, escapes: int) -> "Members":
        return self._replace(values=self.values + count, escapes=self.escapes + escapes)

    def and_outside(self, text: bytes, tail: bytes) -> "Members":
        """`text`: what is outside of strings, with a quote for each; `tail`: what was before."""
        return self._replace(
            values=self.values + text.count(b"[") + text.count(b"{"),
            commas=self.commas + text.count(b","),
            bare_bytes=self.bare_bytes + len(text) - text.count(b'"'),
            constant=self.constant or _constant(tail + text),
        )


NONE = Members(0, 0, 0, 0, None)


def members_of(body: bytes) -> Members:
    """Of a JSON text, in steps; what is no JSON is counted somehow."""
    members = NONE
    is_inside, carried, tail = False, b"", b""
    for begin in range(0, len(body), _STEP_BYTES):
        piece = carried + body[begin : begin + _STEP_BYTES]
        text, carried = _without_escapes(piece)
        escapes = (len(piece) - len(text) - len(carried)) // 2 + text.count(b"\\")
        quotes = text.count(b'"')
        members = members.and_strings((quotes + (not is_inside)) // 2, escapes)
        if members.is_too_much:
            break
        outside = b'"'.join(text.split(b'"')[is_inside::2])
        is_inside ^= quotes % 2 == 1
        members = members.and_outside(outside, tail)
        tail = b"" if is_inside else (tail + outside)[-_LONGEST_CONSTANT:]
        if members.is_too_much:
            break
        give_way()
    return members


def _without_escapes(piece: bytes) -> tuple[bytes, bytes]:
    """Without escaped quotes and backslashes; and a last backslash, whose character comes yet."""
    if b"\\" not in piece:
        return piece, b""
    bare = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
    return (bare[:-1], b"\\") if bare.endswith(b"\\") else (bare, b"")


def _constant(outside: bytes) -> str | None:
    return next((name.decode() for name in _CONSTANTS if name in outside), None)
