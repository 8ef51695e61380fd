"""Where a server's memory lies, by its settings; or that it has none."""

import logging
from collections.abc import Iterable
from contextlib import closing

from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.node_name import process_of
from server.memory.memory import Memory, where
from server.refusal import CannotStart
from server.settings import Settings

log = logging.getLogger("fjord.memory")

_GB = 10**9


def memory_of(settings: Settings, ledger: Ledger) -> Memory | None:
    """None: nothing is kept. Blocks. Raises CannotStart for a key that is none, or another than
    what is kept was sealed with."""
    if settings.response_store == "never":
        return None
    if settings.ledger_url is not None and settings.memory_key is None:
        log.warning("no responses are kept: the nodes of a site need FJORD_MEMORY_KEY for that")
        return None
    database, key = where(settings.data_dir, settings.ledger_url, settings.memory_key)

    def keys() -> list[Key]:
        with closing(ledger.open_books()) as books:
            return KeyStore(books).list()

    memory = Memory(
        database,
        key,
        makes_key=settings.memory_key is None,
        node=process_of(ledger.path),
        quota_bytes=int(settings.memory_gb * _GB),
        days=settings.memory_days,
        days_of=days_of(settings.memory_days_of),
        most_open=settings.background_open,
        content_days=(settings.content_days, settings.metadata_days),
        keys=keys,
    )
    memory.check()
    return memory


def days_of(given: Iterable[str]) -> dict[str, float]:
    """Raises CannotStart."""
    out = {}
    for each in given:
        owner, _, days = each.rpartition("=")
        try:
            out[owner] = float(days)
        except ValueError:
            out[owner] = 0.0
        if not owner or not 0 < out[owner] <= 36_600:
            raise CannotStart(
                f"FJORD_MEMORY_DAYS_OF {each[:80]!r} is wrong: right would be OWNER=DAYS."
            )
    return out
