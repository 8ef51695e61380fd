"""What one engine becomes when its load failed, and when it broke."""

import logging
import time

from engines.fleet.backoff import Backoff
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.running import Running
from engines.fleet.steps import StepFailure

log = logging.getLogger("fjord.fleet")


def load_has_failed(managed: ManagedEngine, failure: StepFailure, backoff: Backoff) -> None:
    managed.count_failure(backoff)
    managed.load_failed(failure.reason, is_final=failure.is_final, refusal=failure.refusal)


def has_broken(managed: ManagedEngine, running: Running, reason: str, backoff: Backoff) -> None:
    """It serves no more, though its processes may still be there."""
    if time.monotonic() - running.ready_at >= backoff.forgiven_after_s:
        managed.failures = 0
    managed.count_failure(backoff)
    managed.restarts += 1
    managed.close()
    managed.is_broken, managed.reason = True, reason
    log.error("engine %s broke and is replaced: %s", managed.spec.key, reason)
