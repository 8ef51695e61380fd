"""The memory of one server, put together: where it lies, what it holds, who looks after it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from server.ledger.keys import Key
from server.memory.background import LOST_S, BackgroundStore
from server.memory.conversations import ConversationStore, KeptItem
from server.memory.counts import Counts, counts_in
from server.memory.database import FileMemory, MemoryDatabase, SharedMemory
from server.memory.errors import MemoryFull, MemoryTrouble, NotKept
from server.memory.kept_requests import KeptRequestStore
from server.memory.owners import Owners
from server.memory.response_rows import EventPart, KeptResponse
from server.memory.responses import ResponseStore
from server.memory.site_key import FILE_NAME, read_site_key
from server.memory.sweeping import Sweeper
from server.memory.vault import Vault

log = logging.getLogger("fjord.memory")

SWEEP_S: Final = 60.0
AWAY_S: Final = 30.0
"""So long after it could not be reached only what must be kept asks for it."""
KEYS_S: Final = 3600.0
STOP_S: Final = 10.0


class Memory:
    """Of one server process. `start` and `stop` belong to the event loop; the stores block."""

    def __init__(
        self,
        database: MemoryDatabase,
        key_path: Path,
        *,
        makes_key: bool,
        node: str,
        quota_bytes: int,
        days: float,
        days_of: Mapping[str, float],
        most_open: int,
        content_days: tuple[float, float] = (7.0, 30.0),
        keys: Callable[[], Sequence[Key]],
    ) -> None:
        """`keys`: those of the site; blocks. `content_days`: how long content of requests is kept,
        and their shape."""
        owners = Owners(quota_bytes, days, days_of)
        self.vault = Vault(database, owners, key_path, makes_key=makes_key)
        self.responses = ResponseStore(self.vault)
        self.conversations = ConversationStore(self.vault)
        self.background = BackgroundStore(self.responses, node, most_open)
        self.requests = KeptRequestStore(self.vault, *content_days)
        self.sweeper = Sweeper(self.responses, self.conversations, self.requests)
        self.running: Callable[[], Sequence[str]] = tuple
        """Ids of the background responses that this process runs."""
        self.counts: Counts | None = None
        """What is kept, once a minute; None: nobody could count it yet."""
        self._keys, self._keys_due = keys, 0.0
        self._away_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = asyncio.Event()

    def check(self) -> None:
        """Blocks. Raises CannotStart where what is kept was sealed with another key."""
        if not self.vault.is_there:
            return
        try:
            self.vault.check_key()
        except MemoryTrouble:
            log.warning("the memory's key is compared with the site's at the first use")

    def keep(
        self,
        kept: KeptResponse,
        events: Sequence[EventPart],
        item_ids: Sequence[str],
        to_conversation: Sequence[KeptItem],
        *,
        is_bound: bool = True,
    ) -> None:
        """All of it or nothing; `is_bound`: by its owner's bytes. Raises MemoryTrouble, MemoryFull,
        ConversationFull; NotKept where it was deleted while it ran."""
        is_bound = is_bound and kept.status not in ("failed", "cancelled")
        with self.vault.transaction() as database:
            self.responses.write(database, kept, item_ids, is_bound=is_bound)
            self.responses.write_events(
                database, kept.owner, kept.response_id, events, is_bound=is_bound
            )
            if kept.conversation_id is not None and to_conversation:
                with suppress(NotKept):  # it was deleted meanwhile
                    self.conversations.append(
                        database, kept.conversation_id, kept.owner, to_conversation
                    )

    def forget(self, owner: str) -> int:
        """Destroy an owner's key and all that it sealed; how many objects that were."""
        return self.sweeper.forget(owner)

    def look_after(self) -> None:
        """What is due: ends of lost processes, what is past its time. Blocks."""
        lost = self.background.end_lost(self.running)
        if lost:
            log.warning("%d background responses had lost their server and have failed", lost)
        went = self.sweeper.sweep(self._keys_at_times())
        if went:
            log.info("%d kept things are past their time and gone", went)
        self.counts = self._counts()

    def _counts(self) -> Counts:
        if not self.vault.is_there:
            return Counts()
        with self.vault.database.transaction() as database:
            return counts_in(database)

    def has_room(self, owner: str) -> bool:
        """Whether what nobody asked to keep may be kept. While the memory is away it is not waited
        for again and again. Blocks."""
        if time.monotonic() < self._away_until:
            return False
        try:
            self.responses.check_room(owner)
        except MemoryTrouble:
            self._away_until = time.monotonic() + AWAY_S
            return False
        except MemoryFull:
            return False
        return True

    def find(self, response_id: str, owner: str) -> KeptResponse:
        """As ResponseStore.find; one whose server is gone has failed by then. Blocks."""
        kept = self.responses.find(response_id, owner)
        if kept.is_over or kept.beat_at > time.time() - LOST_S:
            return kept
        self.background.end_lost(self.running)
        return self.responses.find(response_id, owner)

    def _keys_at_times(self) -> Sequence[Key]:
        """Owners go by the day: to read thousands of keys each minute would cost more."""
        if not self.vault.is_there or time.monotonic() < self._keys_due:
            return ()
        self._keys_due = time.monotonic() + KEYS_S
        return self._keys()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="memory")

    async def _run(self) -> None:
        while not self._is_stopped.is_set():
            try:
                await asyncio.to_thread(self.look_after)
            except MemoryTrouble:
                pass  # it is in the log
            except Exception:
                log.exception("what is kept could not be looked after")
            try:
                await asyncio.wait_for(self._is_stopped.wait(), SWEEP_S)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        self._is_stopped.set()
        if self._task is not None:
            _, late = await asyncio.wait([self._task], timeout=STOP_S)
            for task in late:
                task.cancel()
        await asyncio.to_thread(self.vault.database.close)


def where(data_dir: Path, ledger_url: str | None, key: Path | None) -> tuple[MemoryDatabase, Path]:
    """The database and the path of its key. Raises CannotStart for a key that is none."""
    if key is not None:
        read_site_key(key)
    place = key or data_dir / FILE_NAME
    return (FileMemory(data_dir) if ledger_url is None else SharedMemory(ledger_url)), place


def forget_owner(data_dir: Path, ledger_url: str | None, owner: str) -> int:
    """As Memory.forget, beside a server that may run; needs no key. Raises MemoryTrouble."""
    database, _ = where(data_dir, ledger_url, None)
    vault = Vault(database, Owners(0, 0.0), data_dir / FILE_NAME, makes_key=False)
    try:
        requests = KeptRequestStore(vault, 0.0, 0.0)
        return Sweeper(ResponseStore(vault), ConversationStore(vault), requests).forget(owner)
    finally:
        database.close()
