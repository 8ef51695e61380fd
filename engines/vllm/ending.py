"""The end of an AsyncLLM, in bounded time and with nothing of it left."""

import threading
from typing import Any

from engines.host.processes import ProcessTree

_SHUTDOWN_S = 3.5


def shut_down(llm: Any, processes: ProcessTree) -> None:
    """Ask first: a worker that is asked frees shared memory. A frozen one never answers, and
    vLLM's own shutdown would wait twice for it. `llm` may be None. Blocks."""
    if llm is not None:
        shutdown = threading.Thread(target=llm.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(_SHUTDOWN_S)
    processes.end()


def empty(llm: Any) -> None:
    """The frozen garbage collector never frees its cycles: leave it empty, and keep its __del__
    from a second shutdown."""
    if llm is not None:
        llm.__dict__.clear()
        llm.shutdown = lambda: None
