"""What the fleet knows of one engine's sleep."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from engines.base import Engine
from engines.fleet.sleep_rules import MOST_FAILED_WAKES, first_wake_s


@runtime_checkable
class Sleeper(Protocol):
    """An engine that can give its cards' memory back and keep its process. `check` answers asleep,
    too."""

    def sleep_refusal(self) -> str | None:
        """Why it cannot sleep, and what would be right, in words; None: it can."""

    async def sleep(self, level: int) -> None:
        """Returns once the memory is free. Nothing runs on it. Raises EngineUnavailable."""

    async def wake(self) -> None:
        """Returns when it can generate again."""


_NEVER_SLEEPS = (
    "Engines of this kind cannot sleep; right would be to unload it: it loads again at the next "
    "request."
)


@dataclass(frozen=True, slots=True)
class SleepStatus:
    """As operators see it."""

    level: int = 0
    """0: it is awake."""
    host_bytes: int = 0
    """Of its weights, what waits in the machine's memory."""
    sleeps: int = 0
    wakes: int = 0
    failed_sleeps: int = 0
    failed_wakes: int = 0


@dataclass(slots=True)
class SleepState:
    """Only the fleet's owner task changes it."""

    refusal: str | None = _NEVER_SLEEPS
    """Why it cannot sleep; None: it can. Known while it is loaded."""
    is_ordered: bool = False
    """An operator has it sleep."""
    level: int = 0
    """0: it is awake."""
    at: float | None = None
    """Since when, by the monotonic clock; None: it does not, or not yet."""
    weights_bytes: int = 0
    """0: they are not known."""
    note: object = None
    """What it said before its sleep."""
    seen_wakes_s: dict[int, float] = field(default_factory=dict)
    """level -> how long the last wake took."""
    sleeps: int = 0
    wakes: int = 0
    failed_sleeps: int = 0
    failed_wakes: int = 0
    failed_in_row: int = 0

    @property
    def can_sleep(self) -> bool:
        """By itself: an engine whose wakes fail is stopped instead."""
        return self.refusal is None and self.failed_in_row < MOST_FAILED_WAKES

    @property
    def wakes_s(self) -> tuple[float, float]:
        """How long a wake takes from level 1, and from 2: as the last one did."""
        return self.wake_s(1), self.wake_s(2)

    def wake_s(self, level: int) -> float:
        return self.seen_wakes_s.get(level) or first_wake_s(level, self.weights_bytes)

    def loaded(self, engine: Engine) -> None:
        """It serves; whether it can sleep is known from now on."""
        self.refusal = engine.sleep_refusal() if isinstance(engine, Sleeper) else _NEVER_SLEEPS

    def goes_to_sleep(self, level: int) -> None:
        self.level, self.at = level, None

    def fell_asleep(self, now: float) -> None:
        self.at, self.is_ordered = now, False
        self.sleeps += 1

    def woke(self, took_s: float) -> None:
        self.seen_wakes_s[self.level] = took_s
        self.level, self.failed_in_row = 0, 0
        self.wakes += 1

    def wake_failed(self) -> None:
        self.failed_wakes += 1
        self.failed_in_row += 1

    def is_over(self) -> None:
        """The engine is gone."""
        self.level, self.at, self.is_ordered = 0, None, False
        self.note, self.refusal = None, _NEVER_SLEEPS

    def status(self) -> SleepStatus:
        return SleepStatus(
            level=self.level,
            host_bytes=self.weights_bytes if self.level == 1 else 0,
            sleeps=self.sleeps,
            wakes=self.wakes,
            failed_sleeps=self.failed_sleeps,
            failed_wakes=self.failed_wakes,
        )
