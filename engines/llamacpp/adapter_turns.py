"""Whose adapter runs: llama.cpp computes one at a time, and of two in its slots the one in the
higher slot waits until the other has ended. So all that run have one adapter, or none, by rounds:
those who wait with the adapter of the first in line when nothing runs, and nobody who came later
while others wait.
"""

from collections.abc import Sequence

from engines.llamacpp.task import Task


class AdapterTurns:
    """Ask with `allowed` who may begin; tell it with `begin` and `end`."""

    def __init__(self) -> None:
        self._adapter = ""
        self._running = 0
        self._round: frozenset[Task] = frozenset()

    def allowed(self, waiting: Sequence[Task]) -> list[Task]:
        """In the order of `waiting`, which is that of priorities: whoever goes before all others
        that wait is not held up by a round either."""
        if not self._running and waiting:
            self._adapter = waiting[0].adapter
            self._round = frozenset(task for task in waiting if task.adapter == self._adapter)
        others = [task.priority for task in waiting if task.adapter != self._adapter]
        if not others:
            return [*waiting]
        urgent = min(others)
        return [task for task in waiting if task in self._round and task.priority <= urgent]

    def begin(self, task: Task) -> None:
        self._running += 1

    def end(self, task: Task) -> None:
        self._running -= 1
