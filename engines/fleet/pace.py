"""How far a fetch is, how fast it goes, and when it last went on."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPace:
    """One step of a fetch. Bytes, or a conversion's steps; times are the monotonic clock's
    seconds."""

    what: str
    done: int | None
    total: int | None
    """None: unknown."""
    began: int
    """What was done of it when it began."""
    began_at: float
    moved_at: float
    """When it last got further."""

    @classmethod
    def begun(cls, what: str, done: int | None, total: int | None, now: float) -> "FetchPace":
        return cls(what=what, done=done, total=total, began=done or 0, began_at=now, moved_at=now)

    def told(self, what: str, done: int | None, total: int | None, now: float) -> "FetchPace":
        """The pace after one more report; the same report again is no progress."""
        if what != self.what:
            return self.begun(what, done, total, now)
        if done == self.done:
            return self
        return replace(self, done=done, total=total, moved_at=now)

    def percent(self) -> int | None:
        """0 to 100; None: unknown."""
        if self.done is None or not self.total:
            return None
        return max(0, min(100, 100 * self.done // self.total))

    def left_s(self, now: float) -> float | None:
        """How long the rest takes at this pace; None: unknown."""
        if self.done is None or not self.total:
            return None
        if self.done >= self.total:
            return 0.0
        gone, took_s = self.done - self.began, now - self.began_at
        return (self.total - self.done) * took_s / gone if gone > 0 and took_s > 0 else None
