"""Says what is done for a model's weights, at a pace a person can read."""

import logging
import time

from engines.registry.spec import EngineSpec

log = logging.getLogger("fjord.weights")

EVERY_S = 2.0


class SpokenProgress:
    """One log line when a step begins, then at most one every two seconds, if it got further."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, str, float]] = {}

    def __call__(self, spec: EngineSpec, what: str, done: int | None, total: int | None) -> None:
        step, said, said_at = self._last.get(spec.key, ("", "", 0.0))
        share = f" {done / total:.0%}" if done is not None and total else ""
        now = time.monotonic()
        if what + share == said or (what == step and now - said_at < EVERY_S):
            return
        self._last[spec.key] = what, what + share, now
        log.info("%s: %s%s", spec.source, what, share)
