"""Whose prompts llama.cpp's slots hold: once of more than one owner, nothing that they hold is
found again.

llama.cpp knows no salt, and which slot it takes depends on what all of them hold. So there is no
part of it that could be one owner's own, and what one of several finds would tell of the others.
"""

from engines.llamacpp.task import Task


class PromptOwners:
    """One engine's, from its start to its end. Belongs to the event loop."""

    def __init__(self) -> None:
        self._salts: set[str | None] = set()
        """The first two."""
        self._finding: set[Task] = set()
        """Whose prompts are being read, and may go on from what a slot holds."""

    @property
    def are_several(self) -> bool:
        return len(self._salts) > 1

    @property
    def may_begin(self) -> bool:
        """False for the moment in which another owner's prompt would stand in a slot while one is
        being read that might find it."""
        return not (self.are_several and self._finding)

    def see(self, task: Task) -> bool:
        """Whether its owner is the second one."""
        if self.are_several:
            return False
        self._salts.add(task.salt)
        return self.are_several

    def begin(self, task: Task) -> None:
        if not task.reads_anew:
            self._finding.add(task)

    def end(self, task: Task) -> None:
        """Its prompt is read, or it has ended. Idempotent."""
        self._finding.discard(task)
