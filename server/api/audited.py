"""Who asks over HTTP, and what an operator tells this server, in the audit log."""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from server.accounts.principal import PRINCIPAL, Principal
from server.api.services import Services
from server.http.asgi import Scope
from server.ledger.actors import Actor
from server.ledger.audit import note
from server.ledger.errors import LedgerUnavailable
from server.ledger.open_books import open_books

log = logging.getLogger("fjord.api")


def actor_of(scope: Scope) -> Actor:
    """Of a request that the AdminGate let through."""
    who: Principal = scope[PRINCIPAL]
    address = (scope.get("client") or ("",))[0] or ""
    return Actor(kind=who.kind, name=who.name, address=str(address))


async def noted(
    services: Services,
    actor: Actor,
    action: str,
    target: str,
    after: Mapping[str, Any] | None = None,
) -> None:
    """In this node's own log, before it is done: what cannot be noted is not done. Raises
    LedgerUnavailable."""
    await asyncio.to_thread(_note, services, actor, action, target, after)


def _note(
    services: Services, actor: Actor, action: str, target: str, after: Mapping[str, Any] | None
) -> None:
    try:
        with closing(open_books(services.ledger.data_dir, None)) as books:
            books.actor = actor
            note(books, action, target, None, after)
    except (sqlite3.Error, OSError) as error:
        words = "%s of %s is not done, the audit log cannot be written: %s"
        log.warning(words, action, target, error)
        raise LedgerUnavailable(
            "The audit log cannot be written; the server's log says why. Nothing was done."
        ) from error
