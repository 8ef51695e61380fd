"""What is past its time, or whose owner is gone, goes; so do the keys of owners without anything.

An owner is gone once each of its keys has been revoked or expired for a day, or where an operator
says so: its data key is destroyed with all that it sealed.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from server.ledger.database import Database
from server.ledger.keys import Key
from server.ledger.periods import DAY_S
from server.memory.conversations import ConversationStore
from server.memory.kept_requests import KeptRequestStore
from server.memory.responses import ResponseStore

SLICE: Final = 100
"""Of one transaction: others wait for it some ms, not seconds."""
GRACE_S: Final = DAY_S


class Sweeper:
    """Blocks: off the event loop, from any thread. Raises MemoryTrouble."""

    def __init__(
        self,
        responses: ResponseStore,
        conversations: ConversationStore,
        requests: KeptRequestStore,
    ) -> None:
        self.responses, self.conversations = responses, conversations
        self.requests = requests
        self.vault = responses.vault

    def sweep(self, keys: Iterable[Key]) -> int:
        """All that is due; how many objects went."""
        if not self.vault.is_there:
            return 0
        count = 0
        for owner in sorted(gone_owners(keys, time.time()) & self._owners()):
            count += self.forget(owner)
        while more := self._slice():
            count += more
        with self.vault.database.transaction() as database:
            database.execute("DELETE FROM memory_owners WHERE bytes = 0")
        if count:
            self.vault.database.forget_deleted()
        return count

    def forget(self, owner: str) -> int:
        """All that is kept of an owner, with its key: at once, or what it keeps meanwhile would be
        mistaken for what went."""
        if not self.vault.is_there:
            return 0
        count = 0
        with self.vault.database.transaction() as database:
            had_key = database.execute("DELETE FROM memory_owners WHERE owner = ?", (owner,))
            while more := self._slice_of(database, owner):
                count += more
        if had_key or count:
            self.vault.database.forget_deleted()
        return count

    def _owners(self) -> set[str]:
        with self.vault.database.transaction() as database:
            return {row[0] for row in database.query("SELECT owner FROM memory_owners")}

    def _slice(self) -> int:
        now = int(time.time())
        with self.vault.database.transaction() as database:
            return self._remove(
                database,
                database.query(_DUE_RESPONSES, (now, SLICE)),
                database.query(_DUE_CONVERSATIONS, (now, SLICE)),
            ) + self.requests.remove_due(database, SLICE)

    def _slice_of(self, database: Database, owner: str) -> int:
        return self._remove(
            database,
            database.query(_RESPONSES_OF, (owner, SLICE)),
            database.query(_CONVERSATIONS_OF, (owner, SLICE)),
        ) + self.requests.remove_of(database, owner, SLICE)

    def _remove(
        self,
        database: Database,
        responses: list[tuple[str, str]],
        conversations: list[tuple[str, str]],
    ) -> int:
        for response_id, owner in responses:
            self.responses.remove(database, owner, response_id)
        for conversation_id, owner in conversations:
            self.conversations.remove(database, owner, conversation_id)
        return len(responses) + len(conversations)


def gone_owners(keys: Iterable[Key], now: float) -> set[str]:
    """Those none of whose keys was in use within the last day. An owner without a key is not among
    them: a restored ledger may lack it."""
    ends: dict[str, float] = defaultdict(float)
    for key in keys:
        ended = min(key.revoked_at or float("inf"), key.expires_at or float("inf"))
        ends[key.owner] = max(ends[key.owner], ended)
    return {owner for owner, ended in ends.items() if ended + GRACE_S <= now}


_OVER: Final = "status NOT IN ('queued', 'in_progress')"
_DUE_RESPONSES: Final = f"""
SELECT response_id, owner FROM memory_responses WHERE expires_at <= ? AND {_OVER} LIMIT ?
"""
_DUE_CONVERSATIONS: Final = """
SELECT conversation_id, owner FROM memory_conversations WHERE expires_at <= ? LIMIT ?
"""
_RESPONSES_OF: Final = "SELECT response_id, owner FROM memory_responses WHERE owner = ? LIMIT ?"
_CONVERSATIONS_OF: Final = """
SELECT conversation_id, owner FROM memory_conversations WHERE owner = ? LIMIT ?
"""
