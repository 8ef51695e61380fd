"""A request that is answered at once, without deltas: lease an engine, work, record, answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from engines.base import Engine
from engines.fleet.deaths import Deaths
from engines.fleet.fleet import Fleet
from server.errors import ApiError
from server.fairness.gate import TurnPlace
from server.fairness.gates import Gates
from server.fairness.turn import ServiceClass
from server.http.exchange import Exchange
from server.ledger.ledger import Ledger
from server.ledger.money import reserve_of
from server.ledger.records import UsageRecord
from server.requests.attempts import on_an_engine
from server.requests.gated import GatedTurn
from server.requests.on_behalf import on_behalf
from server.requests.outcomes import cut_error, end_of, explained
from server.requests.run import RequestRun
from server.requests.sent_fields import SentFields

Work: TypeAlias = Callable[[Engine], Awaitable[bytes]]
"""The work itself: notes its tokens in the record, and returns the answer's body."""


class SingleRun(RequestRun[bytes | ApiError]):
    """One of them. With a ledger, exactly one record is closed, whatever happens. Of the states it
    knows waiting, leaving and those of the end: there is nothing to abort or to read to its end."""

    __slots__ = (
        "_is_reserved",
        "_place",
        "_turn",
        "before",
        "deadline",
        "fields",
        "fleet",
        "ledger",
        "most_tokens",
        "record",
        "service_class",
        "wire_names",
        "work",
    )

    def __init__(
        self,
        exchange: Exchange,
        fleet: Fleet,
        record: UsageRecord,
        work: Work,
        *,
        deadline: float,
        fields: SentFields,
        ledger: Ledger | None = None,
        gates: Gates | None = None,
        service_class: ServiceClass = "standard",
        most_tokens: int = 0,
        wire_names: Mapping[str, str] | None = None,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(exchange, record.alias, record.owner)
        self.fleet = fleet
        self.record = record
        self.work = work
        self.deadline = deadline
        """time.monotonic() at which it ends with REQUEST_TIMEOUT."""
        self.fields = fields
        """What its body sets."""
        self.ledger = ledger
        """None: the request costs nothing and leaves no record."""
        self.service_class: ServiceClass = service_class
        self._turn = None
        if gates is not None:
            self._turn = GatedTurn(gates, record, self.times, service_class)
        """None: it takes no room on the engine."""
        self._place: TurnPlace | None = None
        """Where it waited for its turn as its deadline passed."""
        self.most_tokens = most_tokens
        """What it can use at most, for the ledger to reserve."""
        self.wire_names = wire_names or {}
        """Chat's field names, as errors of engines say them -> this endpoint's own."""
        self.before = before
        """What must be done before an engine is asked."""
        self._is_reserved = False

    def tick(self, now: float) -> None:
        if now > self.deadline:
            self._place = None if self._turn is None else self._turn.place
            self.cut("timed_out")

    async def _attempt(self) -> bytes | ApiError:
        record = self.record
        try:
            if self.before is not None:
                await self.before()
            deaths = Deaths(record.record_id, record.alias, self.fields.names)
            body = await on_an_engine(self.fleet, deaths, self.deadline, self._on, lambda: True)
            record.end = "ok"
            return body
        except asyncio.CancelledError:
            record.end = cut = self.cancelled()
            return cut_error(cut, self._place)
        except Exception as exc:
            record.end = end_of(exc)
            record.prompt_tokens = record.cached_tokens = 0  # nothing came of it
            return self._explained(exc)
        finally:
            record.duration_s = self.times.elapsed_s()

    async def _on(self, engine: Engine) -> bytes:
        self.times.has_engine()
        await self._reserve()
        asked = on_behalf(engine, self, self.exchange)
        if self._turn is None:
            return await self.work(asked)
        async with self._turn.at(engine, self.most_tokens):
            self.times.generates()
            return await self.work(asked)

    async def _reserve(self) -> None:
        if self.ledger is None or self._is_reserved:
            return
        self._is_reserved = True
        record, most = self.record, self.most_tokens
        record.prompt_tokens = most
        micro = reserve_of(record, 0)
        record.prompt_tokens = 0
        await self.ledger.begin(record, reserve_micro=micro, reserve_tokens=most)

    async def _recorded(self, outcome: bytes | ApiError) -> bytes | ApiError:
        if self.ledger is None:
            return outcome
        try:
            await asyncio.shield(self.ledger.close_record(self.record, is_delivered=False))
        except Exception as exc:
            return self._explained(exc)
        return outcome

    async def _answer(self, outcome: bytes | ApiError) -> None:
        if self.why == "client_left":
            self.exchange.status = 499
        elif isinstance(outcome, ApiError):
            await self.exchange.fail(outcome)
        else:
            await self.exchange.reply(200, outcome)

    def _explained(self, exc: Exception) -> ApiError:
        return explained(exc, self.wire_names, self.fields, self.exchange.request_id)
