"""A start of llama.cpp that one of its adapters makes fail: it starts with the others."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from engines.llamacpp.adapters import LlamacppAdapters

log = logging.getLogger("fjord.llamacpp")
T = TypeVar("T")


def started(adapters: LlamacppAdapters, start: Callable[[Sequence[str]], T]) -> T:
    """What `start` returns, which starts with the adapters at these paths and raises where it
    cannot; whatever ran before has ended then. Those without which it can are left out. Raises
    what it does with none."""
    try:
        return start(adapters.paths)
    except Exception as error:
        if not adapters.names:
            raise
        log.warning("llama.cpp does not start with its adapters, which are tried singly: %s", error)
    running: T | None = start([])
    taken: list[str] = []
    for name in adapters.names:
        tried = [*taken, name]
        if len(tried) == len(adapters.names):  # which has failed
            log.error("the adapter %s cannot be loaded: llama.cpp fails with it", name)
            break
        try:
            running = start(adapters.paths_of(tried))
            taken = tried
        except Exception as error:
            running = None
            log.error("the adapter %s cannot be loaded: %s", name, error)
    adapters.keep(taken)
    return start(adapters.paths) if running is None else running
