"""A model's load in a thread: it can be given up at any moment, and leaves nothing then."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

from engines.llamacpp.model import LlamacppModel
from engines.llamacpp.server_process import ServerProcess
from engines.registry.spec import EngineSpec


async def loaded(spec: EngineSpec, path: Path, places: Mapping[str, Path]) -> LlamacppModel:
    """`places`: of its adapters, by name. Raises EngineUnavailable. Who is cancelled waits for
    nothing: its process ends by itself."""
    begun = _Begun()
    loading = asyncio.ensure_future(asyncio.to_thread(LlamacppModel, spec, path, begun, places))
    try:
        return await asyncio.shield(loading)
    except asyncio.CancelledError:
        begun.give_up()
        loading.add_done_callback(_close)
        raise


class _Begun:
    """The process of a load, which may begin after nobody wants it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: ServerProcess | None = None
        self._is_given_up = False

    def __call__(self, process: ServerProcess) -> None:
        with self._lock:
            self._process = process
            if self._is_given_up:
                process.kill()

    def give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._process is not None:
                self._process.kill()


def _close(loading: "asyncio.Task[LlamacppModel]") -> None:
    """It was given up, and yet is there."""
    if not loading.cancelled() and loading.exception() is None:
        threading.Thread(target=loading.result().close, daemon=True).start()
