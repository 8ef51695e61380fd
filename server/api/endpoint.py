"""The routes' common way: request id, key, limits, then the endpoint; every failure is one body."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeAlias, TypeVar

from pydantic import TypeAdapter

from engines.registry.spec import ModelSpec, Task
from server.accounts.limits import Admission, LimitExceeded
from server.api.chat.wire import Asked
from server.api.content.copied import answer_copied
from server.api.content_type import check_content_type
from server.api.deadline import timeout_s
from server.api.decode import decoded, named_model
from server.api.idempotency.keyed_requests import HEADER as KEY_HEADER
from server.api.idempotency.taken import TakenBody
from server.api.regions import check_region
from server.api.services import ANONYMOUS, Services, record_id_of
from server.errors import OtherForm, method_not_allowed, to_api_error
from server.http.asgi import Receive, Scope, Send
from server.http.exchange import ClientLeft, Exchange
from server.http.request_log import RequestLine, line_of
from server.ledger.records import Caller, UsageRecord

log = logging.getLogger("fjord.api")

COUNTED_UNKNOWN = 32
"""Unknown members of a body that are counted: each is a look-up and a line at debug."""

A = TypeVar("A", bound=Asked)
P = TypeVar("P")
Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class KeyedEndpoint:
    """An ASGI endpoint behind key and limits. Subclasses serve; failures end here."""

    method = "POST"
    is_metered = False
    """Whether each of its requests has a usage record."""
    takes_key = False
    """Whether a request with an Idempotency-Key is answered once."""
    form: OtherForm | None = None
    """Of another API than the service's."""

    def __init__(self, services: Services, endpoint: str) -> None:
        self.services = services
        self.endpoint = endpoint
        """Its label in metrics and records."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = line_of(scope)
        exchange = Exchange(scope, receive, send, line.request_id)
        if self.form is not None:
            exchange.answer_in(self.form)
        try:
            caller = self._known(exchange, line)
        except Exception as exc:
            await self._fail(exchange, exc)
        else:
            if caller.content:
                exchange = await answer_copied(self, exchange, caller, receive, send)
            else:
                await self.answer(exchange, caller)
        line.status, line.code = exchange.status, exchange.code

    def _known(self, exchange: Exchange, line: RequestLine) -> Caller:
        """Who asks. Raises ApiError 405, AuthError."""
        method = exchange.scope["method"]
        if method != self.method:
            raise method_not_allowed(method, [self.method])
        caller = self._caller(exchange)
        line.note(key=caller.key_id)
        line.owner = caller.owner
        return caller

    async def answer(self, exchange: Exchange, caller: Caller) -> None:
        """Whatever comes of it."""
        try:
            await self._admitted(exchange, caller)
        except ClientLeft:
            exchange.status = 499
        except Exception as exc:
            await self._fail(exchange, exc)
        self.services.metrics.refusals.answered(caller.owner, exchange.code)

    async def _admitted(self, exchange: Exchange, caller: Caller) -> None:
        key = exchange.header(KEY_HEADER) if self.takes_key else None
        is_heard = key is not None and self.services.keyed.is_running(exchange, caller, key)
        try:
            admission = self.services.limiter.admit(caller, 0 if is_heard else 1)
        except LimitExceeded:
            self._note_flood(exchange, caller)
            raise
        exchange.headers += admission.headers
        tokens = 0
        try:
            if key is None:
                tokens = await self.serve(exchange, admission)
            else:
                tokens = await self._keyed(exchange, admission, key)
        finally:
            self.services.limiter.release(admission, tokens=tokens)

    async def _keyed(self, exchange: Exchange, admission: Admission, key: bytes) -> int:
        with self.noting_rejection(exchange, admission.caller):
            return await self.services.keyed.serve(self, exchange, admission, key)

    async def serve_and_close(
        self, admission: Admission, taken: TakenBody, work: Awaitable[int]
    ) -> int:
        """The tokens that `work` used. Its slot is free before what it took is cleared away: its
        client, who has the answer, may ask again at once."""
        tokens = 0
        try:
            tokens = await work
        finally:
            self.services.limiter.release(admission, tokens=tokens)
            await taken.close()
        return tokens

    async def drop_taken(self, admission: Admission, taken: TakenBody) -> None:
        await taken.close()

    async def take(self, exchange: Exchange, admission: Admission) -> TakenBody:
        """What a request with a key brings. Raises ApiError, ClientLeft."""
        return TakenBody(await exchange.body(self.services.settings.max_body_bytes))

    async def answered(self, exchange: Exchange, admission: Admission, taken: TakenBody) -> int:
        """As `serve_taken`; a failure is answered, too."""
        try:
            self.services.limiter.widen(admission, 1)  # it was to hear another's answer alone
            return await self.serve_taken(exchange, admission, taken)
        except Exception as exc:
            await self._fail(exchange, exc)
            return 0

    async def serve_taken(self, exchange: Exchange, admission: Admission, taken: TakenBody) -> int:
        """As `serve`, of what `take` took; `exchange` has its body, too, unless it was a form."""
        return await self.serve(exchange, admission)

    async def check_again(self, admission: Admission, taken: TakenBody) -> None:
        """Raises ApiError where the caller may not have what was answered to that body."""

    def wait_for_another(self, admission: Admission) -> None:
        """Give back the key's slot."""
        self.services.limiter.widen(admission, 0)

    def record_id(self, exchange: Exchange) -> str:
        """Of the usage record that the request will have; "": it will have none."""
        return record_id_of(exchange) if self.is_metered else ""

    def note_rejection(self, exchange: Exchange, caller: Caller) -> None:
        """Record a refused request, where the endpoint's requests are recorded at all."""
        if self.is_metered:
            self.services.note_rejection(exchange, caller, self.endpoint)

    @contextmanager
    def noting_rejection(self, exchange: Exchange, caller: Caller) -> Iterator[None]:
        """Around what refuses a request before it runs."""
        try:
            yield
        except ClientLeft:
            raise
        except Exception:
            self.note_rejection(exchange, caller)
            raise

    def _note_flood(self, exchange: Exchange, caller: Caller) -> None:
        """What is refused by its key's limits has no bound of its own, so its records have one."""
        if not self.is_metered or self.services.rejections.has_room(caller.key_id):
            self.note_rejection(exchange, caller)
        else:
            self.services.metrics.unrecorded()

    def _caller(self, exchange: Exchange) -> Caller:
        if self.services.settings.no_auth:
            return ANONYMOUS
        return self.services.ring.authenticate(exchange.scope["headers"])

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        """Answer the exchange; returns the tokens it used. Whatever it raises before the first
        byte becomes an error body."""
        raise NotImplementedError

    async def _fail(self, exchange: Exchange, exc: Exception) -> None:
        error = to_api_error(exc)
        line_of(exchange.scope).note(**error.facts)
        if error.status >= 500 and error.code == "INTERNAL_ERROR":
            log.exception("request %s failed", exchange.request_id, exc_info=exc)
        self.services.metrics.answered("", self.endpoint, error.status)
        if not exchange.started:
            await exchange.fail(error)


class ModelEndpoint(KeyedEndpoint, Generic[A, P]):
    """An endpoint that asks a model for something: `prepare` makes of a body what `run` does."""

    task: Task = "generate"
    is_metered = True
    takes_key = True

    def __init__(self, services: Services, endpoint: str, adapter: TypeAdapter[A]) -> None:
        super().__init__(services, endpoint)
        self.adapter = adapter

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        with self.noting_rejection(exchange, admission.caller):
            prepared = await self._prepared(exchange, admission)
        return await self.run(exchange, prepared)

    async def _prepared(self, exchange: Exchange, admission: Admission) -> P:
        services = self.services
        services.check_open()
        check_content_type(exchange)
        body = await exchange.body(services.settings.max_body_bytes)
        try:
            return await self._validated(exchange, admission, body)
        except Exception:
            line_of(exchange.scope).note(**named_model(body))
            raise

    async def check_again(self, admission: Admission, taken: TakenBody) -> None:
        wire = await decoded(self.adapter, taken.body, self.services.long_bodies)
        self.services.model(wire.model, admission.caller, self.task)

    async def prepared_of(self, exchange: Exchange, admission: Admission, body: bytes) -> P:
        """For a body that came otherwise than over HTTP. Raises as a request's would."""
        return await self._validated(exchange, admission, body)

    async def _validated(self, exchange: Exchange, admission: Admission, body: bytes) -> P:
        wire = await self.read_body(admission, body)
        self._count_unknown(wire)
        spec = self.services.model(wire.model, admission.caller, self.task)
        check_region(wire.region, self.services.registry.regions)
        record = self._record(exchange, admission.caller, wire, spec)
        prepared = self.prepare(exchange, admission, wire, spec, record)
        if self.is_metered:
            await self.services.ledger.check_budget(record.key_id, record.currency)
        self.services.check_queue(spec.alias, record.owner)
        return prepared

    async def read_body(self, admission: Admission, body: bytes) -> A:
        """Raises ApiError."""
        return await decoded(self.adapter, body, self.services.long_bodies)

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: A,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> P:
        """All that can be refused is refused here. Raises ApiError."""
        raise NotImplementedError

    async def run(self, exchange: Exchange, prepared: P) -> int:
        """Answer; returns the tokens it used."""
        raise NotImplementedError

    def deadline(self, exchange: Exchange) -> float:
        """time.monotonic() at which the request ends with REQUEST_TIMEOUT."""
        return time.monotonic() + timeout_s(exchange, self.services.settings.request_timeout_s)

    def _record(self, exchange: Exchange, caller: Caller, wire: A, spec: ModelSpec) -> UsageRecord:
        """The request's record, as it stands before anything ran. Raises ApiError where the model
        has no price in the key's currency."""
        price = self.services.price(spec, caller)
        return UsageRecord(
            record_id=record_id_of(exchange),
            key_id=caller.key_id,
            owner=caller.owner,
            alias=spec.alias,
            weights=spec.weights,
            revision=spec.engine.revision,
            endpoint=self.endpoint,
            stream=bool(getattr(wire, "stream", False)),
            started_at=time.time(),
            end="lost",
            agent_id=wire.agent_id,
            user=wire.user,
            region=wire.region,
            price_input=price.input,
            price_cached=price.cached_input,
            price_output=price.output,
            currency=self.services.currency(caller),
            node=self.services.node,
        )

    def _count_unknown(self, wire: A) -> None:
        for name in islice(wire.model_extra or (), COUNTED_UNKNOWN):
            self.services.metrics.unknown_field(name)
            log.debug("unknown field %s", name[:64])
