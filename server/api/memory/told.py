"""The memory as metrics tell it."""

from server.api.services import Services
from server.memory.memory import Memory
from server.memory_metrics import MemoryTold


def told_of(services: Services, memory: Memory) -> MemoryTold:
    """As it was counted last; nothing is asked of its database."""
    counts, kept = memory.counts, {"owner_limit_bytes": memory.vault.owners.quota_bytes}
    if counts is not None:
        kept |= {
            "responses": counts.responses,
            "conversations": counts.conversations,
            "owners": counts.owners,
            "bytes": counts.bytes,
            "fullest_owner_bytes": counts.fullest_bytes,
        }
    running, queued = services.background.counts()
    return MemoryTold(
        kept=kept,
        failures=dict(memory.vault.failures.by_kind),
        running=running,
        queued=queued,
        lost=memory.background.lost,
    )
