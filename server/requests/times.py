"""When a request's parts began and ended: a few looks at the clock a request, none a token."""

import time


class Times:
    """Of one run, in time.monotonic()."""

    __slots__ = ("began", "generating", "leased", "prepared", "settled", "wait_s")

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.leased: float | None = None
        """When it had the engine that it ran on; after a death, the one that replaced it."""
        self.prepared: float | None = None
        """When its wait for its turn on that engine began; None: there was room."""
        self.generating: float | None = None
        """When its prompt and its entry in the ledger were there, and the engine was asked."""
        self.settled: float | None = None
        """When its record was durable."""
        self.wait_s = 0.0
        """For its first engine, and its turns."""

    @property
    def waits_since(self) -> float | None:
        """For its engine, or its turn there; None: it has it."""
        if self.leased is None:
            return self.began
        return self.prepared if self.generating is None else None

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def has_engine(self) -> None:
        """It leased one."""
        self.leased = time.monotonic()
        self.prepared = self.generating = None
        self.wait_s = self.wait_s or self.leased - self.began

    def is_prepared(self) -> None:
        """It waits for its turn."""
        self.prepared = time.monotonic()

    def generates(self) -> None:
        self.generating = time.monotonic()
        if self.prepared is not None:
            self.wait_s += self.generating - self.prepared

    def is_settled(self) -> None:
        self.settled = time.monotonic()
