"""What an engine's own scheduler tells of itself, for operators; an engine need not tell it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """The first three are of now, at most a second old; the others count since the start."""

    running_requests: int = 0
    """Requests whose tokens are being computed."""
    waiting_requests: int = 0
    """Requests in the engine that are not: no room for them yet, or put back."""
    kv_cache_usage: float = 0.0
    """The share of the KV cache that is in use, 0..1; of several caches the fullest one's."""
    preemptions: int = 0
    """Times that a running request was put back because the cache was full."""
    prefix_query_tokens: int = 0
    """Prompt tokens that were looked for in the prefix cache."""
    prefix_hit_tokens: int = 0
    """... and found there."""
    draft_tokens: int = 0
    """Tokens that speculative decoding proposed."""
    accepted_tokens: int = 0
    """... and the model confirmed."""


@runtime_checkable
class HasStats(Protocol):
    """An engine that tells its scheduler's figures."""

    def stats(self) -> EngineStats | None:
        """At once, from memory. None: there are none (yet)."""
