"""Forms inside of vLLM's engine: compiled by threads that give way to its steps, and ended where
their tokens cost every stream too much. Loaded by name into the engine's process, as its scheduler.

A form was tried before it came here (`engines/vllm/form_trial.py`); what a trial's few tokens did
not show is found while it is written.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

NICE = 10
MOST_STEP_S = 0.1
"""CPU time of one token's mask or acceptance beyond which it counts ..."""
MOST_COSTLY_STEPS = 2
"""... and how often it may, before the request ends with an error."""


def guard_forms(manager: Any) -> None:
    """Of vLLM's StructuredOutputManager. Raises where it is not as it is known here."""
    workers = manager.executor._max_workers
    create = manager._create_grammar

    def created(request: Any) -> Any:
        return GuardedGrammar(create(request))

    manager.executor.shutdown(wait=False)
    manager.executor = ThreadPoolExecutor(workers, "forms", initializer=give_way)
    manager._create_grammar = created


def give_way() -> None:
    """This thread, and those it starts, run when nobody else wants to (Linux counts by thread)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class GuardedGrammar:
    """A vLLM grammar that refuses its request's next token once it costs too much."""

    def __init__(self, grammar: Any) -> None:
        self._grammar = grammar
        self._costly_steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grammar, name)

    @property  # type: ignore[misc]  # mypy: it could be set
    def __class__(self) -> Any:
        """What `isinstance` asks: older schedulers of vLLM take nothing but their own grammars."""
        return type(self._grammar)

    def fill_bitmask(self, bitmask: Any, index: int) -> None:
        began = time.thread_time()
        self._grammar.fill_bitmask(bitmask, index)
        self._count(time.thread_time() - began)

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        if self._costly_steps > MOST_COSTLY_STEPS:
            return False
        began = time.thread_time()
        is_accepted = self._grammar.accept_tokens(request_id, tokens)
        self._count(time.thread_time() - began)
        return bool(is_accepted)

    def _count(self, cost_s: float) -> None:
        self._costly_steps += cost_s > MOST_STEP_S
