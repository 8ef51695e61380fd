"""Sessions of the console that a test says, instead of signing in."""

from dataclasses import dataclass

from starlette.requests import Request

from server.accounts.principal import Principal
from server.console.session import SignedIn

ADMIN = Principal(kind="member", name="m_admin", role="admin", title="Ada")


@dataclass
class GivenSessions:
    """Everybody is `principal`; None: nobody has signed in."""

    principal: Principal | None = ADMIN
    csrf: str = "token"

    async def find(self, request: Request) -> SignedIn | None:
        return None if self.principal is None else SignedIn(self.principal, self.csrf)
