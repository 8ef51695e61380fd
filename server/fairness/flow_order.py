"""Who of many that wait is first, in time that grows with the logarithm of their number."""

import heapq
from typing import TypeAlias

_Entry: TypeAlias = tuple[float, int, int, str]
_SLACK = 64


class FlowOrder:
    """Names by what they have had, of equals who was served longest ago, of these who came first.
    Entries that were replaced stay in the heap until they come up, or are too many."""

    __slots__ = ("_entries", "_heap", "_pushed")

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._heap: list[_Entry] = []
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, name: str, had: float, served_at: int) -> None:
        before = self._entries.get(name)
        if before is not None and before[:2] == (had, served_at):
            return
        self._pushed += 1
        entry = self._entries[name] = (had, served_at, self._pushed, name)
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + _SLACK:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def drop(self, name: str) -> None:
        """It waits no more; unknown ones are ignored."""
        self._entries.pop(name, None)

    def first(self) -> str:
        """There is one."""
        while self._entries.get(self._heap[0][3]) is not self._heap[0]:
            heapq.heappop(self._heap)
        return self._heap[0][3]
