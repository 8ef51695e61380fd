"""Which aliases share an engine: those of equal EngineSpecs."""

from collections.abc import Iterable, Sequence

from engines.fleet.engine_state import ManagedEngine
from engines.registry.spec import ModelSpec


def shared_engines(models: Iterable[ModelSpec]) -> dict[str, ManagedEngine]:
    shared: dict[str, list[ModelSpec]] = {}
    for model in models:
        shared.setdefault(model.engine.key, []).append(model)
    return {
        key: ManagedEngine(
            spec=sharing[0].engine,
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
        for key, sharing in shared.items()
    }


def _longest(times_s: Sequence[float | None]) -> float | None:
    """None is for ever, and beats every other."""
    known = [time_s for time_s in times_s if time_s is not None]
    return max(known) if known and len(known) == len(times_s) else None
