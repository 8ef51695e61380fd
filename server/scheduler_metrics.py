"""What /metrics tells of engines that know their scheduler's figures (vLLM)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from engines.fleet.status import EngineStatus
from server.engine_families import Described, EngineFamilies, Sample

_GAUGES: Final[Described] = {
    "running_requests": ("Requests that the engine's scheduler computes.", ()),
    "queued_requests": ("Requests inside the engine that wait for room in it.", ()),
    "kv_cache_usage_ratio": ("The share of the engine's KV cache that is in use, 0 to 1.", ()),
}
_COUNTERS: Final[Described] = {
    "preemptions": ("Running requests that were put back because the KV cache was full.", ()),
    "prefix_query_tokens": ("Prompt tokens looked for in the prefix cache.", ()),
    "prefix_hit_tokens": ("Prompt tokens found in the prefix cache.", ()),
    "draft_tokens": ("Tokens that speculative decoding proposed.", ()),
    "accepted_draft_tokens": (
        "Tokens that speculative decoding proposed and the model confirmed.",
        (),
    ),
}
_MEMBERS: Final = {
    "queued_requests": "waiting_requests",
    "kv_cache_usage_ratio": "kv_cache_usage",
    "accepted_draft_tokens": "accepted_tokens",
}
"""Where a member of EngineStats has another name."""


def scheduler_families(statuses: Callable[[], Iterable[EngineStatus]]) -> EngineFamilies:
    """A counter begins anew with each start of an engine."""
    return EngineFamilies(statuses, _GAUGES, _COUNTERS, _samples)


def _samples(engine: EngineStatus) -> Iterator[Sample]:
    if engine.stats is not None:
        for name in (*_GAUGES, *_COUNTERS):
            yield name, (), getattr(engine.stats, _MEMBERS.get(name, name))
