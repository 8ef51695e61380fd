"""The parts that endpoints share, made and put together: one server's."""

from collections.abc import Iterator
from functools import partial

from prometheus_client.registry import Collector

from engines.audio.decoding import Decoder
from engines.fleet.fleet import Fleet
from engines.joined.nodes import JoinedNodes
from engines.registry.registry import Registry
from server.accounts.auth import KeyRing
from server.accounts.limits import Limiter
from server.api.batches.runner import batch_runner
from server.api.content.recorder import ContentRecorder
from server.api.idempotency.place import keyed_requests
from server.api.memory.place import memory_of
from server.api.memory.told import told_of
from server.api.responses.background import BackgroundRunner
from server.api.services import Services
from server.api.site_node import SiteNode
from server.build_info import BuildInfo
from server.disk_space import DiskSpace
from server.fairness.gates import Gates
from server.joined_metrics import JoinedMetrics
from server.ledger.backlog import backlog_of
from server.ledger.ledger import Ledger
from server.ledger_metrics import LedgerMetrics
from server.memory.memory import Memory
from server.memory_metrics import MemoryMetrics
from server.metrics import Metrics
from server.pictures.reading import PictureReader
from server.queue_metrics import QueueMetrics
from server.requests.supervisor import Supervisor
from server.settings import Settings
from server.tracing.facts import Traces


def assembled(
    settings: Settings,
    registry: Registry,
    fleet: Fleet,
    ledger: Ledger,
    ring: KeyRing,
    node: str,
    traces: Traces | None,
    joined: JoinedNodes,
) -> Services:
    """The parts that endpoints share, each with its metrics."""
    supervisor = Supervisor()
    metrics = Metrics(registry.models, fleet.statuses, supervisor.requests)
    services = Services(
        settings=settings,
        registry=registry,
        fleet=fleet,
        ledger=ledger,
        ring=ring,
        limiter=Limiter(
            requests_per_minute=settings.requests_per_minute,
            burst=settings.burst,
            concurrent=settings.concurrent,
            slot_s=settings.request_timeout_s,
        ),
        metrics=metrics,
        supervisor=supervisor,
        disk_space=DiskSpace(settings.data_dir),
        node=node,
        pictures=PictureReader(settings.image_hosts, is_offline=settings.offline),
        decoder=Decoder(settings.audio_seconds),
        traces=traces,
        joined=joined,
        gates=Gates(ring.weight_of),
        memory=memory_of(settings, ledger),
    )
    address = settings.advertise
    services.site_node = SiteNode(ledger, services.limiter, fleet, supervisor, node, address)
    services.recorder = ContentRecorder(services.memory)
    services.batches = batch_runner(services)
    services.keyed = keyed_requests(settings, ledger, supervisor, metrics.keyed)
    if services.memory is not None:
        services.background = _background(services, services.memory)
    for part in _collectors(services):
        metrics.registry.register(part)
    return services


def _background(services: Services, memory: Memory) -> BackgroundRunner:
    return BackgroundRunner(
        memory,
        services.limiter,
        services.supervisor,
        services.settings.background_timeout_s,
        services.current,
        services.model,
    )


def _collectors(services: Services) -> Iterator[Collector]:
    """What /metrics tells beside what is counted once a request."""
    sequences, limit = services.supervisor.sequences, services.settings.queue_limit
    yield BuildInfo()
    yield LedgerMetrics(lambda: backlog_of(services.ledger))
    yield QueueMetrics(sequences, limit, services.gates.waiting)
    yield JoinedMetrics(lambda: (each.state for each in services.joined.all))
    yield services.disk_space
    yield services.recorder
    if services.traces is not None:
        yield services.traces
    if services.memory is not None:
        yield MemoryMetrics(partial(told_of, services, services.memory))
