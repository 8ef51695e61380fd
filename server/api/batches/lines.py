"""A batch's lines on the way that requests over HTTP go: the same checks, engines and records.

What differs: no limits of the key's rate, the lowest priority, the batch's price, an answer that is
kept instead of sent, and a record that is written only once the answer is kept.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Final

from engines.fleet.fleet import Fleet
from engines.registry.spec import ModelSpec, Price, Task
from server.accounts.auth import AuthFailed, NotPermitted
from server.accounts.limits import Admission
from server.api.chat.build import build_chat
from server.api.chat.wire import CHAT
from server.api.completions import COMPLETIONS, build_completion
from server.api.embeddings import EMBEDDINGS, Embeddings
from server.api.endpoint import ModelEndpoint
from server.api.generation import Generation, check_sequences
from server.api.responses.build import build_response
from server.api.responses.wire import RESPONSES
from server.api.services import ANONYMOUS, Services
from server.batches.asking import (
    CUT,
    BudgetFull,
    KeyRefused,
    LineAnswer,
    LineHold,
    ServerStops,
    TryAgain,
)
from server.batches.batch_run import ModelRefused
from server.batches.input_lines import BatchLine
from server.batches.store import Batch
from server.errors import ApiError, to_api_error
from server.fairness.turn import ServiceClass
from server.http.clientless import ClientlessExchange
from server.http.exchange import Exchange
from server.ledger.ledger import Ledger
from server.ledger.records import Caller, UsageRecord
from server.requests.plan import Plan

log = logging.getLogger("fjord.batches")

ENDPOINTS: Final[Mapping[str, tuple[Task, str]]] = {
    "/v1/chat/completions": ("generate", "batch-chat"),
    "/v1/completions": ("generate", "batch-completions"),
    "/v1/responses": ("generate", "batch-responses"),
    "/v1/embeddings": ("embed", "batch-embeddings"),
}
"""Path -> the task of its models, its label in metrics and records."""
_AGAIN: Final[Mapping[str, tuple[float, bool]]] = {
    "OVERLOADED": (1.0, True),
    "MODEL_LOAD_TIMEOUT": (10.0, True),
    "MODEL_UNAVAILABLE": (5.0, False),
}
"""Code -> when it is asked again, and whether it is worth the batch's whole time."""
_NEXT_TURN_S: Final = 1.0


class LineExchange(ClientlessExchange):
    """Keeps the answer. Its client leaves when the line is cut."""

    __slots__ = ("answer", "hold", "only_waited")

    def __init__(self, record_id: str, hold: LineHold) -> None:
        super().__init__(record_id)
        self.hold = hold
        self.answer = b""
        self.only_waited = False
        """Its time was over before its turn came."""

    def watch_disconnect(self, left: Callable[[], None]) -> None:
        self.hold.watch(left)

    def unwatch(self) -> None:
        self.hold.watch(None)

    async def fail(self, error: ApiError) -> None:
        is_late = error.code == "REQUEST_TIMEOUT"
        self.only_waited = is_late and "position" in (error.details or {})
        await super().fail(error)

    async def reply(
        self, status: int, body: bytes, content_type: bytes = b"", *, close: bool = False
    ) -> None:
        self.started, self.status, self.answer = True, status, body


class LineFleet:
    """The fleet as a line's run sees it: its engines are leased to everybody else first."""

    def __init__(self, fleet: Fleet) -> None:
        self.lease = partial(fleet.lease, is_patient=True)
        self.outlook = fleet.outlook


class LineLedger:
    """The ledger as a line's run sees it: its record is kept for `taken`, not written."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._ended: dict[str, UsageRecord] = {}

    async def check_budget(self, key_id: str, currency: str) -> None:
        await self._ledger.check_budget(key_id, currency)

    async def begin(
        self, record: UsageRecord, *, reserve_micro: int = 0, reserve_tokens: int = 0
    ) -> None:
        await self._ledger.reserve(record, reserve_micro, reserve_tokens)

    def progress(self, record: UsageRecord) -> None:
        """A crash bills nothing of a line: it is asked again."""

    def close_record(
        self, record: UsageRecord, *, is_delivered: bool = True
    ) -> "asyncio.Future[None]":
        self._ended[record.record_id] = record
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def taken(self, record_id: str) -> UsageRecord | None:
        """The record that its run has ended with; None: it did not come to run."""
        return self._ended.pop(record_id, None)

    def abandon(self, record: UsageRecord) -> None:
        self._ledger.abandon(record)


@dataclass(slots=True, kw_only=True)
class LineServices(Services):
    """The server's parts as a batch's lines see them."""

    service_class: ClassVar[ServiceClass] = "batch"

    def price(self, spec: ModelSpec, caller: Caller) -> Price:
        """Each price times the registry's factor, rounded half up to a micro-unit."""
        return Services.price(self, spec, caller).at(self.registry.batch_price_factor)


class _LineGeneration(Generation[Any]):
    def _admit(self, plan: Plan, admission: Admission) -> None:
        check_sequences(plan, self.services.limiter.concurrent(admission.caller))


class Lines:
    """Asks lines of `services`; see `Ask`."""

    def __init__(self, services: Services) -> None:
        self._shared = services
        self._running: Counter[str] = Counter()
        """Lines on each alias."""
        self._ledger = LineLedger(services.ledger)
        parts = {f.name: getattr(services, f.name) for f in fields(Services) if f.init}
        parts |= {"ledger": self._ledger, "fleet": LineFleet(services.fleet)}
        self._services = own = LineServices(**parts)
        labels = {path: label for path, (_, label) in ENDPOINTS.items()}
        generations: tuple[tuple[str, Any, Any], ...] = (
            ("/v1/chat/completions", CHAT, build_chat),
            ("/v1/completions", COMPLETIONS, build_completion),
            ("/v1/responses", RESPONSES, build_response),
        )
        self._endpoints: dict[str, ModelEndpoint[Any, Any]] = {
            path: _LineGeneration(own, labels[path], adapter, build)
            for path, adapter, build in generations
        }
        path = "/v1/embeddings"
        self._endpoints[path] = Embeddings(own, labels[path], EMBEDDINGS)

    def alias_of(self, batch: Batch, model: str) -> str:
        """Raises ModelRefused."""
        try:
            caller = self._caller(batch)
            return self._shared.model(model, caller, ENDPOINTS[batch.endpoint][0]).alias
        except (ApiError, NotPermitted, KeyRefused) as refusal:
            raise ModelRefused(str(refusal)) from None

    async def ask(
        self, batch: Batch, number: int, line: BatchLine, hold: LineHold, *, is_last: bool
    ) -> LineAnswer:
        if self._shared.supervisor.draining:
            raise ServerStops
        self._services.registry = self._shared.registry  # it may have been read again
        caller = self._caller(batch)
        exchange = LineExchange(f"{batch.batch_id}-{number}", hold)
        error = await self._run(exchange, caller, batch.endpoint, bytes(line.body))
        record = self._ledger.taken(exchange.request_id)
        if record is None:
            record = self._rejected(exchange, caller, batch.endpoint)
        try:
            self._raise_what_is_no_answer(exchange, error, is_last=is_last)
        except Exception:
            self._ledger.abandon(record)
            raise
        return LineAnswer(status=exchange.status or CUT, body=exchange.answer, record=record)

    async def _run(
        self, exchange: LineExchange, caller: Caller, path: str, body: bytes
    ) -> ApiError | None:
        """The error that it was refused with before it ran."""
        endpoint = self._endpoints[path]
        try:
            prepared = await endpoint.prepared_of(exchange, Admission(caller, (), []), body)
        except Exception as exc:
            error = to_api_error(exc)
            if error.code == "INTERNAL_ERROR":
                log.exception("request %s failed", exchange.request_id, exc_info=exc)
            self._shared.metrics.answered("", endpoint.endpoint, error.status)
            await exchange.fail(error)
            return error
        alias = prepared.record.alias
        self._running[alias] += 1
        try:
            await endpoint.run(exchange, prepared)
        finally:
            self._running[alias] -= 1
        return None

    def others(self, alias: str) -> int:
        """Requests on an alias' engine that are no lines."""
        models, asked = self._shared.registry.models, self._shared.supervisor.requests()
        engine = models[alias].engine if alias in models else None
        shared = [name for name, spec in models.items() if spec.engine == engine] or [alias]
        return sum(asked.get(name, 0) - self._running[name] for name in shared)

    def _raise_what_is_no_answer(
        self, exchange: LineExchange, error: ApiError | None, *, is_last: bool
    ) -> None:
        if exchange.code == "SHUTTING_DOWN":
            raise ServerStops
        if exchange.code == "BUDGET_EXCEEDED":
            raise BudgetFull(str(error) if error is not None else "The key's budget is spent.")
        if exchange.only_waited:
            raise TryAgain(_NEXT_TURN_S, is_patient=True)
        after_s, is_patient = _AGAIN.get(exchange.code, (0.0, False))
        if after_s and (is_patient or not is_last):
            raise TryAgain(after_s, is_patient=is_patient)

    def _caller(self, batch: Batch) -> Caller:
        """Raises KeyRefused."""
        if batch.key_id == ANONYMOUS.key_id and self._shared.settings.no_auth:
            return ANONYMOUS
        try:
            return self._shared.ring.current(batch.key_id)
        except AuthFailed as refusal:
            raise KeyRefused(str(refusal)) from None

    def _rejected(self, exchange: Exchange, caller: Caller, path: str) -> UsageRecord:
        """As a request over HTTP leaves one that was refused before it became one."""
        return UsageRecord(
            record_id=exchange.request_id,
            key_id=caller.key_id,
            owner=caller.owner,
            alias="",
            weights="",
            revision=None,
            endpoint=ENDPOINTS[path][1],
            stream=False,
            started_at=time.time(),
            end="rejected",
            currency=self._shared.currency(caller),
            node=self._shared.node,
        )
