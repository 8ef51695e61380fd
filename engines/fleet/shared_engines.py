"""The registry's models -> the engines that run them: shared where they are equal, and replicas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from engines.fleet.engine_state import ManagedEngine
from engines.registry.spec import EngineSpec, ModelSpec


def shared_engines(models: Iterable[ModelSpec]) -> dict[str, ManagedEngine]:
    """By key, in the registry's order: first of all the first replica of each. Of aliases that
    share an engine the one that asks for most replicas counts."""
    shared: dict[str, list[ModelSpec]] = {}
    for model in models:
        shared.setdefault(_spec(model, 0).key, []).append(model)
    most = max((_count(each) for each in shared.values()), default=0)
    found = [
        _engine(sharing, replica)
        for replica in range(most)
        for sharing in shared.values()
        if replica < _count(sharing)
    ]
    engines = {managed.spec.key: managed for managed in found}
    group_replicas(engines)
    return engines


def group_replicas(engines: Mapping[str, ManagedEngine]) -> None:
    """Each knows its replicas from then on; who waited, and what was read by whom, stays with the
    first one's."""
    groups: dict[str, list[ManagedEngine]] = {}
    for managed in engines.values():
        groups.setdefault(managed.spec.group, []).append(managed)
    for members in groups.values():
        members.sort(key=lambda managed: managed.spec.replica)
        replicas = members[0].replicas
        replicas.members = tuple(members)
        for managed in members:
            managed.replicas = replicas


def _spec(model: ModelSpec, replica: int) -> EngineSpec:
    return model.peer_engine(replica) if model.peers else replace(model.engine, replica=replica)


def _count(sharing: Sequence[ModelSpec]) -> int:
    """Of their engines. What other nodes serve has one for each of them."""
    return max(len(model.peers) or model.replicas for model in sharing)


def _engine(sharing: Sequence[ModelSpec], replica: int) -> ManagedEngine:
    return ManagedEngine(
        spec=_spec(sharing[0], replica),
        aliases=tuple(model.alias for model in sharing),
        keep_ready=any(model.preload for model in sharing),
        is_pinned=any(model.is_pinned for model in sharing),
        is_pinned_at_first=any(model.is_pinned for model in sharing),
        keep_s=_longest([model.keep_s for model in sharing]),
        closed={model.alias for model in sharing if model.load == "never"},
        never=frozenset(model.alias for model in sharing if model.load == "never"),
        start_timeout_s=max(
            (m.start_timeout_s for m in sharing if m.start_timeout_s), default=None
        ),
    )


def _longest(times_s: Sequence[float | None]) -> float | None:
    """None is for ever, and beats every other."""
    known = [time_s for time_s in times_s if time_s is not None]
    return max(known) if known and len(known) == len(times_s) else None


def by_alias(engines: Iterable[ManagedEngine]) -> dict[str, ManagedEngine]:
    """The first replica of each alias' engines."""
    return {a: managed for managed in engines if not managed.spec.replica for a in managed.aliases}
