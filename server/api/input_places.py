"""Which of a request's inputs a refusal is about, in the client's own words: `input[3]`."""

from collections.abc import Callable
from typing import TypeAlias

from engines.base import ContextLengthExceeded, InvalidRequest

Place: TypeAlias = Callable[[int], str]
"""An input's index -> the field that it stands in."""
_INPUTS = frozenset({"input", "prompt", "messages", "documents"})
"""Engines' own words for it."""


def members_of(field: str, *, is_array: bool) -> Place:
    """Of an array its members, of anything else the field itself."""
    return lambda index: f"{field}[{index}]" if is_array else field


def placed(refusal: InvalidRequest, place: Place, beside: str = "") -> InvalidRequest:
    """The refusal by its input's place; `beside`: with what it was read."""
    if refusal.input_index is None:
        return refusal
    at = place(refusal.input_index)
    if isinstance(refusal, ContextLengthExceeded):
        return too_long(refusal, at, beside)
    if refusal.param not in _INPUTS:
        return refusal
    return InvalidRequest(f"{at}: {refusal}", at, refusal.expected, refusal.provided)


def too_long(refusal: ContextLengthExceeded, at: str, beside: str = "") -> ContextLengthExceeded:
    """As `refusal`, by the place."""
    again = ContextLengthExceeded(
        refusal.prompt_tokens,
        None,
        refusal.context_tokens,
        characters=refusal.characters,
        what=f"{at}{beside}",
    )
    again.param = at
    return again
