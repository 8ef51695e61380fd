"""How a model marks its thoughts, and how long one may be."""

from dataclasses import dataclass
from typing import Literal

import msgspec


class ThinkingBudget(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens a thought may have between its marks, which count as none."""

    tokens: int
    """0: the end mark comes at once."""
    start: str = "<think>"
    end: str = "</think>"
    is_asked: bool = True
    """False: no request asked for it, it is the model's own bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """How a model marks its thinking, and whether this request's prompt already opened it."""

    start: str = "<think>"
    end: str = "</think>"
    opened_by: Literal["template", "model"] = "model"
    """"template": the rendered prompt ends inside the thinking, the answer begins there."""
