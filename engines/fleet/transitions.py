"""What one engine becomes when its load failed, when it broke, and when it is gone."""

import logging
import time

from engines.fleet.decisions import Backoff
from engines.fleet.engine_state import ManagedEngine, Running
from engines.fleet.steps import StepFailure

log = logging.getLogger("fjord.fleet")


def load_has_failed(managed: ManagedEngine, failure: StepFailure, backoff: Backoff) -> None:
    _count_failure(managed, backoff)
    managed.devices = ()
    managed.is_replacement = managed.is_unwanted = False
    managed.called_at = None
    managed.is_hopeless = failure.is_final
    managed.refusal = failure.refusal
    managed.become("failed", failure.reason)
    managed.wake()


def has_broken(managed: ManagedEngine, running: Running, reason: str, backoff: Backoff) -> None:
    if time.monotonic() - running.ready_at >= backoff.forgiven_after_s:
        managed.failures = 0
    _count_failure(managed, backoff)
    managed.restarts += 1
    managed.close()
    managed.is_broken, managed.reason = True, reason
    log.error("engine %s broke and is replaced: %s", managed.spec.key, reason)


def has_gone(managed: ManagedEngine) -> None:
    managed.is_replacement = managed.is_broken and not managed.is_unwanted
    managed.is_broken = False
    managed.is_unwanted, managed.devices = False, ()
    managed.become("cold", managed.reason)


def _count_failure(managed: ManagedEngine, backoff: Backoff) -> None:
    managed.failures += 1
    managed.retry_at = time.monotonic() + backoff.delay_s(managed.failures)
