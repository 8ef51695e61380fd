"""An endpoint as keyed requests see it."""

from collections.abc import Awaitable
from typing import Protocol

from server.accounts.limits import Admission
from server.api.idempotency.taken import TakenBody
from server.http.exchange import Exchange


class AnswersByKey(Protocol):
    """What an endpoint must do for its requests to have keys."""

    async def take(self, exchange: Exchange, admission: Admission) -> TakenBody:
        """All that the request brings. Raises ApiError, ClientLeft."""

    async def answered(self, exchange: Exchange, admission: Admission, taken: TakenBody) -> int:
        """Answer, whatever comes of it; the tokens that it used."""

    async def serve_and_close(
        self, admission: Admission, taken: TakenBody, work: Awaitable[int]
    ) -> int:
        """The tokens that `work` used; the key's slot is free before what it took is cleared."""

    async def drop_taken(self, admission: Admission, taken: TakenBody) -> None:
        """Another has what it took."""

    async def check_again(self, admission: Admission, taken: TakenBody) -> None:
        """Raises ApiError where this caller may not have an answer to that body."""

    def wait_for_another(self, admission: Admission) -> None:
        """Give back the key's slot: another's answer takes none."""

    def record_id(self, exchange: Exchange) -> str:
        """Of the usage record that it will have; "": it will have none."""
