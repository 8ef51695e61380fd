"""Who has signed in, as pages know them."""

from typing import NamedTuple, Protocol

from starlette.requests import Request

from server.accounts.principal import Principal


class SignedIn(NamedTuple):
    """A session that holds now."""

    principal: Principal
    csrf: str
    """What each form of its pages must carry."""


class Sessions(Protocol):
    async def find(self, request: Request) -> SignedIn | None:
        """By the request's cookie; None: nobody has signed in, or the session has ended. Raises
        LedgerUnavailable."""
        ...
