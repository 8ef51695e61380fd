"""How many members a JSON body has, before it is parsed: Python's objects of them are made in one
step that no other thread interrupts. Knows nothing of what they mean."""

from collections.abc import Sequence
from typing import NamedTuple

from engines.host.interpreter_turns import give_way

MAX_VALUES, MAX_NUMBERS = 32_768, 262_144
"""Strings, arrays and objects, and commas (numbers, then): 0.5 and 0.1 µs each."""
MAX_BARE_BYTES = 8 * MAX_NUMBERS
"""Outside of strings: the longest numbers are twice as much work as a token's id."""
MAX_ESCAPES = 524_288
"""Backslashes in strings: 15 ns each."""
MAX_NAME_BYTES = 8_192
"""Of a member of an object: parsed, a name is written and compared several times in one step."""
MOST_MEMBERS = (
    f"at most {MAX_VALUES} strings, arrays and objects, {MAX_NUMBERS} numbers,"
    f" {MAX_BARE_BYTES} bytes outside of strings and {MAX_ESCAPES} escapes in them,"
    f" and no member's name of more than {MAX_NAME_BYTES} bytes"
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
    has_long_name: bool

    @property
    def is_too_much(self) -> bool:
        return (
            self.values > MAX_VALUES
            or self.commas > MAX_NUMBERS
            or self.bare_bytes > MAX_BARE_BYTES
            or self.escapes > MAX_ESCAPES
            or self.has_long_name
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


NONE = Members(0, 0, 0, 0, None, False)


class _LongNames:
    """Looks for a long string with a colon behind it, piece by piece."""

    def __init__(self) -> None:
        self._open_bytes = 0
        """Of a string that has not ended yet."""
        self._is_due = False
        """Nothing but white space was there since a long string."""

    def are_in(self, parts: Sequence[bytes], is_inside: bool) -> bool:
        """`parts`: of a piece, between its quotes; the first one is inside of a string or not."""
        is_found = not is_inside and self._is_due and _begins_with_colon(parts[0])
        self._is_due &= not is_inside and len(parts) == 1 and not parts[0].strip()
        lengths = [len(part) for part in parts[not is_inside :: 2]]
        if is_inside:
            lengths[0] += self._open_bytes
        ends_inside = len(parts) % 2 == is_inside
        self._open_bytes = lengths.pop() if ends_inside else 0
        for index, length in enumerate(lengths):
            if length > MAX_NAME_BYTES:
                behind = parts[2 * index + 1 + (not is_inside)]
                is_found |= _begins_with_colon(behind)
                is_last = index == len(lengths) - 1 and not ends_inside
                self._is_due |= is_last and not behind.strip()
        return is_found


def _begins_with_colon(outside: bytes) -> bool:
    return outside.lstrip().startswith(b":")


def members_of(body: bytes) -> Members:
    """Of a JSON text, in steps; what is no JSON is counted somehow."""
    members = NONE
    is_inside, carried, tail = False, b"", b""
    names = _LongNames()
    for begin in range(0, len(body), _STEP_BYTES):
        piece = carried + body[begin : begin + _STEP_BYTES]
        text, carried = _without_escapes(piece)
        escapes = (len(piece) - len(text) - len(carried)) // 2 + text.count(b"\\")
        quotes = text.count(b'"')
        members = members.and_strings((quotes + (not is_inside)) // 2, escapes)
        if members.is_too_much:
            break
        parts = text.split(b'"')
        members = members._replace(has_long_name=names.are_in(parts, is_inside))
        outside = b'"'.join(parts[is_inside::2])
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
