"""One request's place in the order of those that want an engine."""

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

ServiceClass: TypeAlias = Literal["interactive", "standard", "batch"]
"""Somebody reads along, somebody waits for the whole, or nobody waits: streams, whole answers, the
lines of batches."""
WeightOf: TypeAlias = Callable[[str], float]
"""Owner -> weight, above 0; asked with each request, so that it may change at any time."""
BATCH_PRIORITY = 1 << 50
"""In the engine, a batch's requests are behind everybody else's: a site gets there in centuries."""


def equal_weights(owner: str) -> float:
    return 1.0


class FairTurn:
    """Costs are in tokens, priorities in tokens by weight; the lower is first."""

    __slots__ = (
        "cost",
        "is_inside",
        "key",
        "number",
        "owner",
        "priority",
        "sequences",
        "service_class",
        "waiter",
        "weight",
    )

    def __init__(
        self,
        owner: str,
        key: str,
        cost: float,
        service_class: ServiceClass = "standard",
        sequences: int = 1,
    ) -> None:
        self.owner, self.key = owner, key
        self.service_class: ServiceClass = service_class
        self.cost = cost
        """What it is expected to use."""
        self.sequences = sequences
        self.weight = 1.0
        """Its owner's, as it was charged."""
        self.priority = 0.0
        """What of its owner's was in the engine when it was its turn, or one of its key's before
        it."""
        self.number = 0
        """Of its key's, in the order in which they came."""
        self.is_inside = False
        """It may be in the engine; else it waits."""
        self.waiter: asyncio.Future[None] | None = None
        """Done when its turn has come; None: it never waited."""

    @property
    def engine_priority(self) -> int:
        """As a GenerateRequest's."""
        return int(self.priority) + (BATCH_PRIORITY if self.service_class == "batch" else 0)
