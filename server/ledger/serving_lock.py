"""At most one server process a data directory, so that budgets and recovery are exact."""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from server.ledger.errors import LedgerInUse

LOCK_NAME = "ledger.lock"


class ServingLock:
    """Gone with the process however it ends. An engine's forked child, which may outlive it for a
    moment, neither keeps nor frees it."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / LOCK_NAME
        self.lock = FileLock(self.path, timeout=0, mode=0o600, thread_local=False)

    @property
    def is_held(self) -> bool:
        return self.lock.is_locked

    def take(self) -> None:
        """Raises LedgerInUse."""
        try:
            self.lock.acquire()
        except Timeout:
            raise LedgerInUse(
                f"The data directory {self.path.parent} is in use by another fjord server "
                f"(process {self.holder()}); stop it or give this one its own --data-dir."
            ) from None
        self.path.write_text(f"{os.getpid()}\n")

    def holder(self) -> str:
        try:
            return self.path.read_text("utf-8").strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self) -> None:
        self.lock.release()
