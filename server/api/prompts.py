"""The input of completions and embeddings: a text, token ids, or an array of either."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

MAX_TOKEN_IDS = 2**20
"""Of a prompt: more than any context."""

Token = Annotated[int, Field(ge=0, le=2**31 - 1)]
TokenIds = Annotated[list[Token], Field(min_length=1, max_length=MAX_TOKEN_IDS, fail_fast=True)]


def prompts_of(given: str | Sequence[str | int | list[int]]) -> list[str | list[int]]:
    """One array of numbers is one prompt; any other array is several."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], int):
        return [[t for t in given if isinstance(t, int)]]
    return [p for p in given if not isinstance(p, int)]
