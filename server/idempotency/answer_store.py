"""Where keys and their answers are kept: a node's file, or the site's database."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from server.idempotency.entry import Entry

Fate: TypeAlias = Literal["billed", "nothing", "unknown"]
"""What a request came to whose answer is not kept. `unknown`: its node is away, and whatever it
recorded, and may yet ship, is one record of that id."""


class AnswerStore(Protocol):
    """Blocks: off the event loop, from any thread. Raises what its database raises."""

    def claimed(self, entry: Entry) -> Entry:
        """What is known of its key already, or itself, now written down. Raises TooManyKeys."""

    def fate(self, found: Entry) -> Fate:
        """Of one that does not run, and has no answer."""

    def replace(self, found: Entry, entry: Entry) -> bool:
        """Write `entry` down in the place of one that came to nothing; False: another has."""

    def keep(self, entry: Entry, sealed: bytes) -> bool:
        """False: there is no room for its answer. An owner has half of the room."""

    def end(self, entry: Entry) -> None:
        """It is billed, and its answer is not kept."""

    def forget(self, entry: Entry) -> None:
        """A later request with its key is a new one."""

    def forget_answers(self, owner: bytes) -> int:
        """All of an owner's; how many. Its keys stay known: nothing is billed twice."""

    def expire(self, now: float) -> None:
        """Forget what is older than a day."""

    def beat(self, entry_ids: Sequence[bytes]) -> None:
        """Say that their requests still run here."""

    def close(self) -> None: ...
