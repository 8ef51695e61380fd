"""What every endpoint shares: one server's parts, the models a caller may use, who is refused."""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from typing import ClassVar, Final

from engines.audio.decoding import Decoder
from engines.fleet.fleet import Fleet
from engines.host.worker_threads import WorkerThreads
from engines.joined.nodes import JoinedNodes
from engines.registry.registry import Registry
from engines.registry.spec import ModelSpec, Price, Task
from server.accounts.auth import KeyRing, check_model
from server.accounts.limits import Limiter
from server.accounts.prefix_salts import PrefixSalts
from server.accounts.rejections import Rejections
from server.api.content.recorder import ContentRecorder
from server.api.idempotency.keyed_requests import KeyedRequests
from server.api.responses.background import BackgroundRunner
from server.api.site_node import SiteNode
from server.batches.runner import BatchRunner
from server.disk_space import DiskSpace
from server.errors import ApiError, brief
from server.fairness.gates import Gates
from server.fairness.turn import ServiceClass
from server.http.exchange import Exchange
from server.ids import new_id
from server.ledger.keys import Key
from server.ledger.keys_in_use import Left, Take
from server.ledger.ledger import Ledger
from server.ledger.records import Caller, KeyLimits, UsageRecord
from server.memory.memory import Memory
from server.metrics import Metrics
from server.pictures.reading import PictureReader
from server.requests.outcomes import cut_error
from server.requests.supervisor import Supervisor
from server.settings import Settings
from server.tracing.facts import Traces

log = logging.getLogger("fjord.front")

_DOES: Final[Mapping[Task, str]] = {
    "generate": "generates text",
    "embed": "makes embeddings",
    "rerank": "reranks",
    "transcribe": "transcribes speech",
}
MOST_OF_LIMIT: Final = 2
"""Of a model's queue limit, what all owners together may have that are below their shares."""
ANONYMOUS = Caller(
    key_id="anonymous",
    name="anonymous",
    owner="anonymous",
    limits=KeyLimits(requests_per_minute=10**9, concurrent=10**9),
)
"""Everybody, where the server runs without keys; on no address but loopback."""


@dataclass(slots=True, kw_only=True)
class Services:
    """Everything an endpoint needs, made once by create_app."""

    settings: Settings
    registry: Registry
    fleet: Fleet
    ledger: Ledger
    ring: KeyRing
    limiter: Limiter
    metrics: Metrics
    supervisor: Supervisor
    disk_space: DiskSpace
    node: str
    pictures: PictureReader
    decoder: Decoder
    """Of recordings."""
    traces: Traces | None = None
    joined: JoinedNodes = field(default_factory=JoinedNodes)
    """Machines that run parts of engines."""
    gates: Gates = field(default_factory=Gates)
    """Of the engines: who is next on one that is full."""
    rejections: Rejections = field(default_factory=Rejections)
    prefix_salts: PrefixSalts = field(default_factory=PrefixSalts)
    side_tasks: "set[asyncio.Future[None]]" = field(default_factory=set)
    long_bodies: WorkerThreads = field(
        default_factory=lambda: WorkerThreads(1, "long-bodies", in_short_turns=True)
    )
    """One thread: several would keep the interpreter from the event loop in turn."""

    memory: Memory | None = None
    """None: nothing of responses is kept."""

    recorder: ContentRecorder = field(init=False)
    """What is kept of requests whose key asks for it."""

    batches: BatchRunner = field(init=False)
    """Set when there is an API that asks their lines."""
    keyed: KeyedRequests = field(init=False)
    site_node: SiteNode = field(init=False)
    background: BackgroundRunner = field(init=False)
    """Set where there is a memory."""

    service_class: ClassVar[ServiceClass] = "standard"
    """Of whole answers."""

    def prepared(self, keys: list[Key]) -> Take:
        """What has exactly these count, and what is in flight at the levels above them."""
        take = self.ring.prepared(keys)

        def taken() -> Left:
            left = take()
            self.limiter.levels_changed(self.ring.levels_of)
            return left

        return taken

    def change(self, keys: Collection[Key], gone: Set[str]) -> None:
        self.ring.change(keys, gone)
        self.limiter.levels_changed(self.ring.levels_of, [key.key_id for key in keys])

    def check_open(self) -> None:
        """Raises ApiError 503 once the server shuts down."""
        if self.supervisor.draining:
            raise cut_error("shut_down")

    def check_queue(self, alias: str, owner: str) -> None:
        """Raises ApiError 503 where as much runs on the model, or waits for it, as may. An owner
        with less than its share of that is taken beyond it, up to twice as much in all: others
        that fill the queue do not keep it out."""
        limit, in_flight = self.settings.queue_limit, self.supervisor.in_flight(alias)
        if in_flight < limit:
            return
        weight_of, held = self.gates.weight_of, self.supervisor.by_owner(alias)
        share = limit * weight_of(owner) / sum(map(weight_of, {owner, *held}))
        if in_flight >= MOST_OF_LIMIT * limit or held.get(owner, 0) >= share:
            message = f"{alias} already has {in_flight} requests running or waiting."
            error = ApiError.retry(503, "OVERLOADED", message, 2)
            places = {"position": in_flight + 1, "owner_position": held.get(owner, 0) + 1}
            error.details = {**places, "limit": limit}
            raise error

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
            currency=self.currency(caller),
            node=self.node,
        )
        closing = self.ledger.close_record(record)
        self.side_tasks.add(closing)
        closing.add_done_callback(self._noted)

    def _noted(self, closing: "asyncio.Future[None]") -> None:
        self.side_tasks.discard(closing)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.warning("a rejected request could not be recorded: %s", error)

    def current(self, caller: Caller) -> Caller:
        """A caller who was accepted before, as it is by now. Raises AuthFailed."""
        if caller is ANONYMOUS and self.settings.no_auth:
            return caller
        return self.ring.current(caller.key_id)

    def currency(self, caller: Caller) -> str:
        """What the key is billed in."""
        return caller.currency or self.registry.currency

    def price(self, spec: ModelSpec, caller: Caller) -> Price:
        """The alias' price for a key. Raises ApiError 403 where it has none in the key's currency:
        a record in another one would be outside the key's budget and reports."""
        currency = self.currency(caller)
        price = self.known_price(spec, caller)
        if price is None:
            known = ", ".join([self.registry.currency, *self.registry.rates])
            message = (
                f"This API key is billed in {currency}, and {spec.alias} has a price in {known} "
                f"only; the server's operator can give the registry a rate for {currency}."
            )
            raise ApiError(403, "INSUFFICIENT_PERMISSIONS", message)
        return price

    def known_price(self, spec: ModelSpec, caller: Caller) -> Price | None:
        """In the key's currency, times its factor; each rounded half up to a micro-unit."""
        price = self.registry.price_in(self.currency(caller), spec.price)
        if price is None or caller.price_factor is None:
            return price
        return price.at(caller.price_factor)

    def model(self, name: str, caller: Caller, task: Task | None = None) -> ModelSpec:
        """The spec of an alias or another name. Raises ApiError 404, 403 where the key may not
        use it, and 400 where it is not for `task`."""
        spec = self.registry.names.find(name)
        if spec is None or not _is_known_to(caller, spec):
            known = ", ".join(self.usable(caller)) or "none"
            message = f"Unknown model {brief(name)!r}; this key may use: {known}."
            raise ApiError(404, "MODEL_NOT_FOUND", message, param="model")
        check_model(caller, spec.alias)
        if task is not None and spec.engine.task != task:
            raise self._wrong_task(spec.alias, caller, task)
        return spec

    def usable(self, caller: Caller) -> list[str]:
        """The aliases that the caller's key may use, in the registry's order."""
        return [
            alias
            for alias, spec in self.registry.models.items()
            if (caller.models is None or alias in caller.models) and _is_known_to(caller, spec)
        ]

    def refusals(self) -> dict[str, str]:
        """Why new work is refused though the engines are ready: part -> words fit for everybody;
        paths, hosts and the database's own words stay in the log. Empty when all is well."""
        out = {}
        if self.ledger.health():
            out["ledger"] = "Usage cannot be recorded now; the server's log says why."
        if self.supervisor.draining:
            out["drain"] = "The server is shutting down."
        elif self.site_node.is_drained:
            out["drain"] = "An operator keeps new work from this server."
        if not self.site_node.is_known:
            out["site"] = "The site's other servers do not know of this one yet."
        return out

    def _wrong_task(self, alias: str, caller: Caller, task: Task) -> ApiError:
        models = self.registry.models
        able = [a for a in self.usable(caller) if models[a].engine.task == task]
        does = _DOES[models[alias].engine.task]
        expected = "one of " + ", ".join(able) if able else "no model that this key may use"
        message = f"{alias} {does} only; right here would be {expected}."
        return ApiError.invalid(message, "model", alias, expected)


def _is_known_to(caller: Caller, spec: ModelSpec) -> bool:
    """Others are not told that it exists. Without keys there is nobody else."""
    return caller is ANONYMOUS or spec.is_known_to({caller.owner, caller.owner_id})


def record_id_of(exchange: Exchange) -> str:
    """The request id, made unique where the client chose it: an id is billed once."""
    if exchange.record_id is not None:
        return exchange.record_id
    if exchange.header(b"x-request-id") is None:
        return exchange.request_id
    return f"{exchange.request_id}.{new_id(12)}"
