"""What stands behind the fast path's streams, in the place of a tokenizer and a model's marks."""

from collections.abc import Sequence
from typing import Any

from engines.base import Delta


class Text:
    """Ids as words; notes how many it makes at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def of(self, ids: Sequence[int]) -> str:
        self.sizes.append(len(ids))
        return "".join(f"{number} " for number in ids)

    def last(self, ids: Sequence[int], is_stop: bool) -> str:
        return self.of(ids[:-1] if is_stop else ids)


class Plain:
    """In the place of Choices."""

    def piece(self, text: str, ids: Sequence[int], finish: Any = None, cached: int = 0) -> Delta:
        return Delta(0, text, len(ids), finish, "", 0, cached)
