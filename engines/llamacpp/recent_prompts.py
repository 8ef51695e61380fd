"""Which prompts llama.cpp's slots hold, as far as one can tell from outside: how much of a new one
it need not read."""

import threading
from array import array
from collections import deque
from collections.abc import Sequence

from engines.shared_tokens import shared_tokens


class RecentPrompts:
    """The last `count` prompts with the length of their answers, whose own ids llama.cpp does not
    tell, each with its adapter: what one has read is of no use to another. Any thread may ask and
    add."""

    def __init__(self, count: int) -> None:
        self._entries: deque[tuple[str, array[int], int]] = deque(maxlen=count)
        self._lock = threading.Lock()

    def add(self, ids: Sequence[int], answer_tokens: int, adapter: str = "") -> None:
        """What it goes on from, as a chat's next turn does, is in the same slot, so forgotten."""
        new = array("i", ids)
        with self._lock:
            kept = [
                (own, old, tokens)
                for own, old, tokens in self._entries
                if own != adapter or not _begins(new, old)
            ]
            self._entries.clear()
            self._entries.extend([*kept, (adapter, new, answer_tokens)])

    def known_tokens(self, ids: Sequence[int], adapter: str = "") -> int:
        """Of the beginning of `ids`, at most all but one. A prompt that goes on after a whole
        earlier one is taken to hold its answer too."""
        new = array("i", ids)
        with self._lock:
            entries = tuple(self._entries)
        known = (_known(new, old, tokens) for own, old, tokens in entries if own == adapter)
        return min(max(known, default=0), len(new) - 1)


def _known(new: "array[int]", old: "array[int]", answer_tokens: int) -> int:
    shared = shared_tokens(new, old)
    return shared + answer_tokens if shared == len(old) else shared


def _begins(new: "array[int]", old: "array[int]") -> bool:
    """`new` with `old`; most differ in their last tokens too, which are looked at first."""
    size = len(old)
    return size <= len(new) and new[max(0, size - 9) : size] == old[-9:] and new[:size] == old
