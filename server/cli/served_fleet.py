"""The fleet of `fjord serve`, on this machine and on those that it has beside it."""

import logging
from collections.abc import Sequence

from engines.build import EngineBuilder
from engines.fleet.fleet import Fleet
from engines.fleet.start_limit import StartLimit
from engines.host.garbage import freeze_garbage
from engines.joined.nodes import JoinedNodes
from engines.planning.machine import Machine, this_machine
from engines.planning.plan import AskedEngine
from engines.registry.registry import Registry
from engines.vllm.ray.cluster import RayCluster
from server.cli.clustered import with_cluster
from server.cli.engine_memory import node_memory, sleep_rules
from server.cli.no_card import old_driver
from server.cli.progress import SpokenProgress
from server.cli.registry_facts import asked_of, never_fitting
from server.ledger.ledger import Ledger
from server.peers.directory import Directory
from server.peers.peers import Peers
from server.settings import Settings

log = logging.getLogger("fjord.serve")


def fleet_to_serve(
    settings: Settings,
    registry: Registry,
    ledger: Ledger,
    joined: JoinedNodes,
    cluster: RayCluster | None,
) -> Fleet:
    """What never fits is told now."""
    machine = with_cluster(this_machine(), cluster)
    asked = asked_of(registry.here, settings.data_dir, may_ask_hub=False)
    _tell_what_never_fits(asked, machine)
    if (complaint := old_driver()) is not None:
        log.warning("%s: they may not start", complaint)
    builder = EngineBuilder(
        settings.data_dir,
        SpokenProgress(),
        stall_timeout_s=settings.fetch_stall_timeout_s,
        verifies=settings.verify,
        peer=Peers(Directory(ledger.open_books)).engine,
        nodes=joined,
        cluster=cluster,
        machine=lambda: machine,
    )
    return Fleet(
        registry.models.values(),
        builder,
        weights_bytes=builder.weights_bytes,
        pace=builder.pace,
        begin_adapter=builder.adapters.begin,
        load_timeout_s=settings.load_timeout_s,
        start_limit=StartLimit.of(settings.start_timeout_s),
        memory=node_memory(settings, asked, machine, cluster),
        sleeping=sleep_rules(settings),
        on_ready=freeze_garbage,
    )


def _tell_what_never_fits(asked: Sequence[AskedEngine], machine: Machine) -> None:
    """Once, before anything is fetched; the fleet refuses them when they are asked for."""
    for line in never_fitting(asked, machine):
        log.warning("%s; `fjord plan` says what would fit", line)
