"""The routes' common way: request id, key, limits, then the endpoint; every failure is one body."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from pydantic import TypeAdapter

from engines.fleet import Fleet
from engines.registry import Registry
from engines.spec import ModelSpec
from server.answer import Answer, Call, Plan
from server.auth import KeyRing, check_model
from server.decode import decode
from server.errors import ApiError, method_not_allowed, to_api_error
from server.exchange import ClientLeft, Exchange, Receive, Scope, Send
from server.ledger.ledger import Ledger
from server.ledger.records import Caller, KeyLimits, UsageRecord
from server.limits import Limiter
from server.log import RequestLine, line_of
from server.metrics import Metrics
from server.protocol import Asked, SamplingFields
from server.settings import Settings
from server.watch import Watch

log = logging.getLogger("fjord.api")

ANONYMOUS = Caller(
    key_id="anonymous",
    name="anonymous",
    owner="anonymous",
    limits=KeyLimits(requests_per_minute=10**9, concurrent=10**9),
)
"""Everybody, where the server runs without keys; on no address but loopback."""
Task: TypeAlias = Literal["generate", "embed"]
A = TypeVar("A", bound=Asked)
P = TypeVar("P")
W = TypeVar("W", bound=SamplingFields)
Build: TypeAlias = Callable[[W, ModelSpec, str], Plan]
"""Wire body, alias, request id -> what to generate, and the wire form of its answer."""
Endpoint: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Front:
    """Everything an endpoint needs, made once by create_app."""

    settings: Settings
    registry: Registry
    fleet: Fleet
    ledger: Ledger
    ring: KeyRing
    limiter: Limiter
    metrics: Metrics
    watch: Watch
    node: str
    in_flight: dict[str, int] = field(default_factory=dict)
    """alias -> requests admitted and not ended."""
    side_tasks: "set[asyncio.Future[None]]" = field(default_factory=set)

    def note_rejection(self, exchange: Exchange, caller: Caller, endpoint: str) -> None:
        """Record a request that was refused before it became one; nobody waits for the disk."""
        record = UsageRecord(
            record_id=record_id_of(exchange),
            key_id=caller.key_id,
            owner=caller.owner,
            alias="",
            weights="",
            revision=None,
            endpoint=endpoint,
            stream=False,
            started_at=time.time(),
            end="rejected",
            currency=self.registry.currency,
            node=self.node,
        )
        closing = asyncio.ensure_future(self.ledger.close_record(record))
        self.side_tasks.add(closing)
        closing.add_done_callback(self._noted)

    def _noted(self, closing: "asyncio.Future[None]") -> None:
        self.side_tasks.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.warning("a rejected request could not be recorded: %s", error)

    def model(self, alias: str, caller: Caller, task: Task | None = None) -> ModelSpec:
        """The alias' spec. Raises ApiError 404, 403 where the key may not use it, and 400 where
        it is not for `task`."""
        spec = self.registry.models.get(alias)
        if spec is None:
            known = ", ".join(self.registry.models)
            message = f"Unknown model {alias!r}; known: {known}."
            raise ApiError(404, "MODEL_NOT_FOUND", message, param="model")
        check_model(caller, alias)
        if task is not None and spec.engine.task != task:
            raise self._wrong_task(alias, task)
        return spec

    def _wrong_task(self, alias: str, task: Task) -> ApiError:
        able = [m.alias for m in self.registry.models.values() if m.engine.task == task]
        does = "generates text" if task == "embed" else "makes embeddings"
        expected = "one of " + ", ".join(able) if able else "no model of this server"
        message = f"{alias} {does} only; right here would be {expected}."
        return ApiError.invalid(message, "model", alias, expected)


class Guarded:
    """An ASGI endpoint behind key and limits. Subclasses serve; failures end here."""

    method = "POST"
    endpoint = "other"

    def __init__(self, front: Front) -> None:
        self.front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = line_of(scope)
        exchange = Exchange(scope, receive, send, line.request_id)
        try:
            await self._admitted(exchange, line)
        except ClientLeft:
            exchange.status = 499
        except Exception as exc:
            await self._fail(exchange, exc)
        line.status = exchange.status

    async def _admitted(self, exchange: Exchange, line: RequestLine) -> None:
        method = exchange.scope["method"]
        if method != self.method:
            raise method_not_allowed(method, self.method)
        caller = self._caller(exchange)
        line.note(key=caller.key_id)
        admission = self.front.limiter.admit(caller)
        exchange.headers += admission.headers
        tokens = 0
        try:
            tokens = await self.serve(exchange, caller)
        finally:
            self.front.limiter.release(admission, tokens=tokens)

    def _caller(self, exchange: Exchange) -> Caller:
        if self.front.settings.no_auth:
            return ANONYMOUS
        return self.front.ring.authenticate(exchange.scope["headers"])

    async def serve(self, exchange: Exchange, caller: Caller) -> int:
        """Answer the exchange; returns the tokens it used. Whatever it raises before the first
        byte becomes an error body."""
        raise NotImplementedError

    async def _fail(self, exchange: Exchange, exc: Exception) -> None:
        error = to_api_error(exc)
        if error.status >= 500 and error.code == "INTERNAL_ERROR":
            log.exception("request %s failed", exchange.request_id, exc_info=exc)
        self.front.metrics.answered("", self.endpoint, error.status)
        if not exchange.started:
            await exchange.fail(error)


class Asking(Guarded, Generic[A, P]):
    """An endpoint that asks a model for something: `prepare` makes of a body what `run` does."""

    task: Task = "generate"
    is_metered = True

    def __init__(self, front: Front, endpoint: str, adapter: TypeAdapter[A]) -> None:
        super().__init__(front)
        self.endpoint = endpoint
        self.adapter = adapter

    async def serve(self, exchange: Exchange, caller: Caller) -> int:
        front = self.front
        if front.watch.draining:
            raise ApiError.retry(503, "SHUTTING_DOWN", "The server is shutting down.", 10)
        check_content_type(exchange)
        body = await exchange.body(front.settings.max_body_bytes)
        try:
            spec, prepared = self._validated(exchange, caller, body)
        except Exception:
            if self.is_metered:
                front.note_rejection(exchange, caller, self.endpoint)
            raise
        with _InFlight(front, spec.alias):
            return await self.run(exchange, prepared)

    def _validated(self, exchange: Exchange, caller: Caller, body: bytes) -> tuple[ModelSpec, P]:
        wire = decode(self.adapter, body)
        self._count_unknown(wire)
        spec = self.front.model(wire.model, caller, self.task)
        self._check_region(wire)
        return spec, self.prepare(exchange, caller, wire, spec)

    def prepare(self, exchange: Exchange, caller: Caller, wire: A, spec: ModelSpec) -> P:
        """All that can be refused is refused here. Raises ApiError."""
        raise NotImplementedError

    async def run(self, exchange: Exchange, prepared: P) -> int:
        """Answer; returns the tokens it used."""
        raise NotImplementedError

    def deadline(self, exchange: Exchange) -> float:
        """time.monotonic() at which the request ends with REQUEST_TIMEOUT."""
        return time.monotonic() + _timeout_s(exchange, self.front.settings.request_timeout_s)

    def record(self, record_id: str, caller: Caller, wire: A, spec: ModelSpec) -> UsageRecord:
        """The request's record, as it stands before anything ran."""
        return UsageRecord(
            record_id=record_id,
            key_id=caller.key_id,
            owner=caller.owner,
            alias=spec.alias,
            weights=spec.engine.source,
            revision=spec.engine.revision,
            endpoint=self.endpoint,
            stream=bool(getattr(wire, "stream", False)),
            started_at=time.time(),
            end="lost",
            agent_id=wire.agent_id,
            user=wire.user,
            region=wire.region,
            price_input=spec.price.input,
            price_cached=spec.price.cached_input,
            price_output=spec.price.output,
            currency=self.front.registry.currency,
            node=self.front.node,
        )

    def _check_region(self, wire: A) -> None:
        regions = self.front.registry.regions
        if wire.region is not None and wire.region not in regions:
            expected = "one of " + ", ".join(regions)
            message = f"Unknown region {wire.region!r}; expected {expected}."
            raise ApiError.invalid(message, "region", wire.region, expected)

    def _count_unknown(self, wire: A) -> None:
        for name in wire.model_extra or ():
            self.front.metrics.unknown_field(name)
            log.debug("unknown field %s", name[:64])


class Generation(Asking[W, Call], Generic[W]):
    """An endpoint that generates: chat, completions, responses; only the wire forms differ."""

    def __init__(
        self, front: Front, endpoint: str, adapter: TypeAdapter[W], build: Build[W]
    ) -> None:
        super().__init__(front, endpoint, adapter)
        self.build = build

    async def run(self, exchange: Exchange, call: Call) -> int:
        front, record = self.front, call.record
        front.metrics.started(record.alias)
        answer = Answer(call, exchange, front.fleet, front.ledger)
        try:
            await answer.run(front.watch)
        finally:
            front.metrics.finished(record, exchange.status, answer.wait_s)
            line_of(exchange.scope).note(
                model=record.alias,
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                end=record.end,
            )
        return record.prompt_tokens + record.completion_tokens

    def prepare(self, exchange: Exchange, caller: Caller, wire: W, spec: ModelSpec) -> Call:
        record_id = record_id_of(exchange)
        plan = self.build(wire, spec, record_id)
        if (others := self.front.limiter.in_flight(caller)) > 1:
            # Fairness: a key's n-th request at once waits behind everybody else's first ones.
            requests = tuple(replace(r, priority=others - 1) for r in plan.requests)
            plan = replace(plan, requests=requests)
        settings = self.front.settings
        return Call(
            plan=plan,
            spec=spec,
            record=self.record(record_id, caller, wire, spec),
            deadline=self.deadline(exchange),
            send_timeout_s=settings.send_timeout_s,
            keep_alive_s=settings.keep_alive_s,
        )


def record_id_of(exchange: Exchange) -> str:
    """The request id, made unique where the client chose it: an id is billed once."""
    if exchange.header(b"x-request-id") is None:
        return exchange.request_id
    return f"{exchange.request_id}.{secrets.token_hex(6)}"


class _InFlight:
    """Counts a request of an alias; beyond the queue's limit it is refused at once."""

    __slots__ = ("_alias", "_front")

    def __init__(self, front: Front, alias: str) -> None:
        self._front = front
        self._alias = alias

    def __enter__(self) -> None:
        count = self._front.in_flight.get(self._alias, 0)
        limit = self._front.settings.queue_limit
        if count >= limit:
            message = f"{self._alias} already has {limit} requests running or waiting."
            raise ApiError.retry(503, "OVERLOADED", message, 2)
        self._front.in_flight[self._alias] = count + 1

    def __exit__(self, *exc: object) -> None:
        self._front.in_flight[self._alias] -= 1


class ModelList(Guarded):
    """GET /v1/models and /v1/llm/models."""

    method = "GET"
    endpoint = "models"

    async def serve(self, exchange: Exchange, caller: Caller) -> int:
        models = [
            model_body(spec)
            for alias, spec in self.front.registry.models.items()
            if caller.models is None or alias in caller.models
        ]
        self.front.metrics.answered("", self.endpoint, 200)
        await exchange.reply(200, msgspec.json.encode({"object": "list", "data": models}))
        return 0


class OneModel(Guarded):
    """GET /v1/models/{id} and /v1/llm/models/{id}."""

    method = "GET"
    endpoint = "models"

    async def serve(self, exchange: Exchange, caller: Caller) -> int:
        alias = exchange.scope["path"].rsplit("/models/", 1)[1]
        spec = self.front.model(alias, caller)
        self.front.metrics.answered(alias, self.endpoint, 200)
        await exchange.reply(200, msgspec.json.encode(model_body(spec)))
        return 0


def model_body(spec: ModelSpec) -> dict[str, Any]:
    """The documented four members."""
    return {
        "id": spec.alias,
        "object": "model",
        "owned_by": "wayscloud",
        "created": spec.created,
    }


def check_content_type(exchange: Exchange) -> None:
    """415 where a body says it is something else than JSON; silence is taken for JSON."""
    kind = exchange.header(b"content-type")
    if kind is None:
        return
    name = kind.split(b";", 1)[0].strip().lower()
    if name != b"application/json" and not name.endswith(b"+json"):
        message = f"Content-Type is {name.decode('latin-1')!r}; expected application/json."
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message)


def _timeout_s(exchange: Exchange, longest: float) -> float:
    """The client's X-Request-Timeout (seconds), never more than the server's own."""
    asked = exchange.header(b"x-request-timeout")
    if asked is None:
        return longest
    try:
        seconds = float(asked)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        field = "X-Request-Timeout"
        provided = asked.decode("latin-1")[:40]
        raise ApiError.invalid(f"{field} must be seconds above 0.", field, provided, "seconds > 0")
    return min(seconds, longest)
