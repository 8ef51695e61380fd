"""How much is kept, and what failed: for metrics, which name no owner."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from server.ledger.database import Database
from server.memory.errors import MemoryFull, MemoryTrouble
from server.memory.sealing import WrongSeal

Failure: TypeAlias = Literal["away", "sealed", "full"]
"""`away`: it could not be written or read; `sealed`: what lies there could not be opened; `full`:
an owner's bytes had no room."""
_COUNTS: Final = """
SELECT (SELECT count(*) FROM memory_responses), (SELECT count(*) FROM memory_conversations),
    count(*), coalesce(sum(bytes), 0), coalesce(max(bytes), 0)
FROM memory_owners
"""


class Counts(msgspec.Struct, frozen=True):
    """Of all owners; bytes as they lie on the disk."""

    responses: int = 0
    conversations: int = 0
    owners: int = 0
    bytes: int = 0
    fullest_bytes: int = 0
    """Of the owner who has most."""


def counts_in(database: Database) -> Counts:
    return Counts(*map(int, database.query(_COUNTS)[0]))


class Failures:
    """Since the process began. Any thread."""

    def __init__(self) -> None:
        self.by_kind: Counter[str] = Counter(dict.fromkeys(get_args(Failure), 0))

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around what may fail."""
        try:
            yield
        except (MemoryTrouble, MemoryFull) as error:
            self.by_kind[_kind(error)] += 1
            raise


def _kind(error: Exception) -> Failure:
    if isinstance(error, MemoryFull):
        return "full"
    is_sealed = isinstance(error, WrongSeal) or isinstance(error.__cause__, WrongSeal)
    return "sealed" if is_sealed else "away"
