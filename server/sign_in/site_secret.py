"""What cookies are signed with: one secret for all nodes of a site, in its books."""

import secrets
from typing import Final

from server.ledger.database import Database
from server.ledger.meta import remember, remembered

NAME: Final = "sign_in_secret"


def site_secret(database: Database) -> str:
    """Made when it is first asked for."""
    found = remembered(database, NAME)
    if found is None:
        with database.writing("meta"):
            found = remembered(database, NAME)
            if found is None:
                found = secrets.token_urlsafe(32)
                remember(database, NAME, found)
    return found
