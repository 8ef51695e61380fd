"""Whose prompts llama.cpp's slots may hold: a request goes on from none that only others have sent.

llama.cpp knows no salt, and puts a prompt into the slot that begins most alike. So a request whose
prompt is like another owner's, further than like any of its own, reads all of it anew. What a slot
holds cannot be seen from outside: all that was sent lately counts as held, and behind it an answer
that nobody here knows.
"""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeAlias

_BLOCK: Final = 16
"""Tokens that are compared at once; what is alike within the last of them tells nobody anything."""
_MOST_BLOCKS: Final = 131_072
"""Two million tokens, more than llama.cpp's cells hold of what is older."""
_MOST_ENDS: Final = 16_384
_MOST_BEHIND: Final = 256
"""Ends behind one beginning: each request looks at all of them."""

Salts: TypeAlias = set[str | None]


class PromptOwners:
    """Any thread may ask."""

    def __init__(self, most_blocks: int = _MOST_BLOCKS, most_ends: int = _MOST_ENDS) -> None:
        self._most_blocks, self._most_ends = most_blocks, most_ends
        self._blocks: OrderedDict[int, Salts] = OrderedDict()
        """Who has sent a prompt's beginning, by a hash of it; in whole blocks."""
        self._ends: OrderedDict[int, dict[bytes, Salts]] = OrderedDict()
        """Who has sent a whole prompt: its last tokens, fewer than a block, behind a beginning."""
        self._lock = threading.Lock()

    def take(self, ids: Sequence[int], salt: str | None, shared_tokens: int = 0) -> bool:
        """Whether the prompt may go on from what is held; now it is held itself. The first
        `shared_tokens` are everybody's."""
        hashes, blocks, end = _parts(ids)
        with self._lock:
            is_free = self._is_free(hashes, [*blocks, end], salt, shared_tokens // _BLOCK)
            self._add(hashes, end, salt)
        return is_free

    def _is_free(
        self, hashes: Sequence[int], parts: Sequence[bytes], salt: str | None, at: int
    ) -> bool:
        """Whether what this owner has sent last was followed by nobody else."""
        while at < len(hashes) and salt in self._blocks.get(hashes[at], ()):
            at += 1
        if at < len(hashes) and hashes[at] in self._blocks:
            return False
        ends = self._ends.get(hashes[at - 1] if at else 0, {})
        return all(
            salt in salts or not parts[min(at, len(parts) - 1)].startswith(end)
            for end, salts in ends.items()
        )

    def _add(self, hashes: Sequence[int], end: bytes, salt: str | None) -> None:
        for each in hashes:
            self._blocks.setdefault(each, set()).add(salt)
            self._blocks.move_to_end(each)
        before = hashes[-1] if hashes else 0
        behind = self._ends.setdefault(before, {})
        behind.setdefault(end, set()).add(salt)
        self._ends.move_to_end(before)
        while len(behind) > _MOST_BEHIND:
            del behind[next(iter(behind))]
        while len(self._blocks) > self._most_blocks:
            self._blocks.popitem(last=False)
        while len(self._ends) > self._most_ends:
            self._ends.popitem(last=False)


def _parts(ids: Sequence[int]) -> tuple[list[int], list[bytes], bytes]:
    """A hash of each beginning of whole blocks, those blocks, and what is left. The hash is
    Python's own, which differs with each process: nobody outside can make two prompts alike."""
    raw, size = array("i", ids).tobytes(), _BLOCK * array("i").itemsize
    whole = len(raw) - len(raw) % size
    blocks = [raw[begin : begin + size] for begin in range(0, whole, size)]
    hashes, known = [], 0
    for block in blocks:
        known = hash((known, block))
        hashes.append(known)
    return hashes, blocks, raw[whole:]
