"""An endpoint as keyed requests see it."""

from typing import Protocol

from server.accounts.limits import Admission
from server.http.exchange import Exchange


class AnswersByKey(Protocol):
    """What an endpoint must do for its requests to have keys."""

    async def answered(self, exchange: Exchange, admission: Admission) -> int:
        """Answer, whatever comes of it; the tokens that it used."""

    async def check_again(self, admission: Admission, body: bytes) -> None:
        """Raises ApiError where this caller may not have an answer to that body."""

    def record_id(self, exchange: Exchange) -> str:
        """Of the usage record that it will have; "": it will have none."""
