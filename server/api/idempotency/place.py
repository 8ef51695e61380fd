"""Where a server's keys lie, by its settings: its site's database, or a file of its own."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from server.api.idempotency.keyed_requests import KeyedRequests
from server.api.idempotency.site_books import SiteBooks
from server.idempotency.answer_store import AnswerStore
from server.idempotency.secret import SiteSecret, shared_secret, site_secret
from server.idempotency.site_store import SiteAnswers
from server.idempotency.store import KeptAnswers
from server.ledger.ledger import Ledger
from server.ledger.node_name import process_of
from server.ledger.one_record import charged
from server.memory.database import SharedMemory
from server.memory.errors import MemoryTrouble
from server.memory.owners import Owners
from server.memory.site_key import read_site_key
from server.memory.vault import Vault
from server.requests.supervisor import Supervisor
from server.settings import Settings

log = logging.getLogger("fjord.front")

_GB = 10**9
_SITE_THREADS = 4


def keyed_requests(
    settings: Settings, ledger: Ledger, supervisor: Supervisor, counted: Callable[[str], None]
) -> KeyedRequests:
    """Blocks. Raises CannotStart for a key of the site that is none, or another than its nodes'."""
    store, read_secret, threads = _store(settings, ledger)
    return KeyedRequests(
        store,
        read_secret,
        threads=threads,
        patience_s=settings.send_timeout_s,
        longest_s=settings.request_timeout_s,
        is_draining=lambda: supervisor.draining,
        counted=counted,
    )


def _store(settings: Settings, ledger: Ledger) -> tuple[AnswerStore, Callable[[], SiteSecret], int]:
    """With what reads its secret, and how many threads may ask it: a file takes one transaction at
    a time."""
    by_ledger, most_bytes = partial(charged, ledger.path), int(settings.kept_answers_gb * _GB)
    own = KeptAnswers(settings.data_dir, most_bytes, by_ledger)
    if settings.ledger_url is None or settings.memory_key is None:
        if settings.ledger_url is not None:
            log.warning(
                "an Idempotency-Key is known to the node that it came to alone: the nodes of a "
                "site need FJORD_MEMORY_KEY to share it"
            )
        return own, partial(site_secret, settings.data_dir), 1
    secret = shared_secret(read_site_key(settings.memory_key))
    database = SharedMemory(settings.ledger_url)
    vault = Vault(database, Owners(0, 0.0), settings.memory_key, makes_key=False)
    if settings.response_store == "never":  # else the memory has compared it
        with suppress(MemoryTrouble):  # then it is compared at the first use
            vault.check_key()
    books = SiteBooks(vault)
    shared = SiteAnswers(
        books.transaction,
        books.close,
        node=process_of(ledger.path),
        most_bytes=most_bytes,
        charged=by_ledger,
        former=own,
    )
    return shared, lambda: secret, _SITE_THREADS
