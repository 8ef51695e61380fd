"""How many tokens an answer will have, as far as earlier ones tell."""

_FIRST = 256.0
"""Before there was any."""
_SMOOTH = 1 / 8
_MOST_OWNERS = 4096


class Estimates:
    """Of one engine: the running mean of each owner's sequences, else of everybody's."""

    def __init__(self) -> None:
        self._mean = _FIRST
        self._of_owner: dict[str, float] = {}

    def tokens(self, owner: str) -> float:
        """Of one sequence that may have as many as it likes."""
        return self._of_owner.get(owner, self._mean)

    def note(self, owner: str, tokens: float) -> None:
        """A sequence that came to its own end had so many."""
        before = self.tokens(owner)
        if len(self._of_owner) >= _MOST_OWNERS and owner not in self._of_owner:
            self._of_owner.clear()
        self._of_owner[owner] = before + (tokens - before) * _SMOOTH
        self._mean += (tokens - self._mean) * _SMOOTH
