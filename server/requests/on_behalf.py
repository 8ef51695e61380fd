"""For whom an engine is asked, where it is another server's."""

from typing import Protocol

from engines.base import Engine
from server.fairness.turn import ServiceClass
from server.http.exchange import Exchange
from server.http.request_log import trace_context
from server.ledger.records import UsageRecord
from server.peers.engine import PeerEngine
from server.peers.wire import Asker


class EngineAsker(Protocol):
    """What is known of a request that asks an engine."""

    @property
    def record(self) -> UsageRecord: ...
    @property
    def service_class(self) -> ServiceClass: ...
    @property
    def deadline(self) -> float:
        """time.monotonic() at which it ends."""


def on_behalf(
    engine: Engine, asked: EngineAsker, exchange: Exchange, *, goes_on: bool = False
) -> Engine:
    """The engine as it is asked for this request. `goes_on`: for one prompt, which is generated as
    it is made."""
    if not isinstance(engine, PeerEngine):
        return engine
    record = asked.record
    trace = trace_context(exchange.scope)
    asker = Asker(record.owner, record.key_id, asked.service_class, trace)
    return engine.on_behalf_of(asker, asked.deadline, goes_on=goes_on)
