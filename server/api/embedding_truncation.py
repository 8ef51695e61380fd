"""How much of an embeddings input is kept, by vLLM's fields or others' `truncate`."""

from typing import Annotated, Literal, Protocol, TypeAlias

from pydantic import Field

from engines.base import Truncation
from engines.registry.spec import ModelSpec
from server.errors import ApiError

Truncate: TypeAlias = bool | Literal["NONE", "START", "END"]
"""Jina's and TEI's, or Cohere's and NVIDIA's, which says what is cut off."""
MostTokens: TypeAlias = Annotated[int, Field(ge=-1, le=2**31 - 1)]
Side: TypeAlias = Literal["left", "right"]

_CUT_OFF: dict[Truncate, Side] = {"START": "left", "END": "right"}


class Truncates(Protocol):
    """What an embeddings request has of it."""

    @property
    def truncate_prompt_tokens(self) -> int | None: ...
    @property
    def truncation_side(self) -> Side | None: ...
    @property
    def truncate(self) -> Truncate | None: ...


def truncation_of(wire: Truncates, spec: ModelSpec) -> Truncation | None:
    """None: an input that is too long is refused. Raises ApiError 400 where two fields differ."""
    most, truncate = wire.truncate_prompt_tokens, wire.truncate
    is_off = truncate is False or truncate == "NONE"
    side = _CUT_OFF.get(truncate) if isinstance(truncate, str) else None
    if (is_off and most is not None) or _differ(side, wire.truncation_side):
        other = "truncate_prompt_tokens" if is_off else "truncation_side"
        message = f"truncate and {other} differ."
        raise ApiError.invalid(message, "truncate", truncate, "one of the two")
    if is_off or (truncate is None and most is None):
        return None
    kept = spec.context_tokens if most is None or most < 0 else most
    return Truncation(kept, keeps_end=(side or wire.truncation_side) == "left")


def _differ(one: Side | None, other: Side | None) -> bool:
    return one is not None and other is not None and one != other
