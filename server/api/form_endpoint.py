"""Uploads with an Idempotency-Key: a file is there before it is known whose answer it gets."""

from collections.abc import Awaitable

from server.accounts.limits import Admission, LimitExceeded
from server.api.endpoint import KeyedEndpoint
from server.api.idempotency.taken import TakenBody
from server.http.exchange import Exchange


class FormEndpoint(KeyedEndpoint):
    """Of who may need no slot, since another with its key runs, a key sends no more files at once
    than it has slots."""

    async def take_form(self, exchange: Exchange, admission: Admission) -> TakenBody:
        """Raises ApiError, ClientLeft."""
        raise NotImplementedError

    async def take(self, exchange: Exchange, admission: Admission) -> TakenBody:
        if not admission.slots:
            self.services.limiter.hold_form(admission)
        try:
            return await self.take_form(exchange, admission)
        except BaseException:
            self.services.limiter.leave_form(admission)
            raise

    async def serve_and_close(
        self, admission: Admission, taken: TakenBody, work: Awaitable[int]
    ) -> int:
        try:
            return await super().serve_and_close(admission, taken, work)
        finally:
            self.services.limiter.leave_form(admission)

    async def drop_taken(self, admission: Admission, taken: TakenBody) -> None:
        await super().drop_taken(admission, taken)
        self.services.limiter.leave_form(admission)

    def wait_for_another(self, admission: Admission) -> None:
        """Its file waits, too: it keeps its slot where too many do."""
        try:
            self.services.limiter.hold_form(admission)
        except LimitExceeded:
            return
        super().wait_for_another(admission)
