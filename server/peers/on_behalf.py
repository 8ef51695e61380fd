"""For whom an engine is asked, where it is another server's."""

from engines.base import Engine
from server.fairness.turn import ServiceClass
from server.ledger.records import UsageRecord
from server.peers.engine import PeerEngine
from server.peers.wire import Asker


def on_behalf(engine: Engine, record: UsageRecord, service_class: ServiceClass) -> Engine:
    """The engine as it is asked for this request."""
    if not isinstance(engine, PeerEngine):
        return engine
    return engine.on_behalf_of(Asker(record.owner, record.key_id, service_class))
