"""The cluster that `fjord serve` joins, and its cards behind this machine's."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from engines.planning.machine import Machine, this_machine
from engines.registry.registry import Registry
from engines.vllm.ray.cluster import NoCluster, RayCluster, join
from server.refusal import CannotStart
from server.settings import Settings


@contextlib.contextmanager
def clustered(settings: Settings, registry: Registry) -> Iterator[RayCluster | None]:
    """As settings or registry say; None: they say nothing. Blocks for less than a minute. Raises
    CannotStart."""
    said = settings.cluster or registry.cluster
    if said is None:
        yield None
        return
    try:
        cluster = join(said, len(this_machine().cards))
    except NoCluster as refusal:
        raise CannotStart(f"cluster {said}: {refusal}.") from None
    with contextlib.closing(cluster):
        yield cluster


def with_cluster(machine: Machine, cluster: RayCluster | None) -> Machine:
    """The machine with the cluster's cards, those of each other machine together."""
    if cluster is None:
        return machine
    return replace(machine, cards=(*machine.cards, *cluster.cards))
