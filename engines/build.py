"""EngineSpec -> an engine that is not started yet: its weights found, its library imported."""

import asyncio
import concurrent.futures
import contextlib
import importlib.util
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from engines.base import Engine
from engines.registry.spec import EngineSpec
from engines.weights.resolve import resolve
from engines.weights.size import weights_bytes

WeightsProgress: TypeAlias = Callable[[EngineSpec, str, int | None, int | None], None]
"""What is being done for a spec's weights; bytes or steps done, of how many (None: unknown)."""

LIBRARIES = {"vllm": "vllm", "llamacpp": "xllamacpp"}


class _Abandoned(Exception):
    """Nobody waits for these weights any more."""


class EngineBuilder:
    """How a fleet builds its engines. `progress` is called on the event loop."""

    def __init__(self, data_dir: Path, progress: WeightsProgress) -> None:
        self._data_dir = data_dir
        self._progress = progress
        self._weights_bytes: dict[str, int] = {}

    async def __call__(self, spec: EngineSpec) -> Engine:
        if spec.kind == "scripted":
            return _engine(spec, Path())
        path = await _weights(spec, self._data_dir, self._progress)
        self._weights_bytes[spec.key] = weights_bytes(path)
        return _engine(spec, path)

    def weights_bytes(self, spec: EngineSpec) -> int:
        """0 for what was not built yet, or has no weights."""
        return self._weights_bytes.get(spec.key, 0)


def missing_library(kind: str) -> str | None:
    """The library that an engine of this kind needs and that is not installed here; nothing is
    imported."""
    library = LIBRARIES.get(kind)
    if library is None:
        return None
    try:
        return None if importlib.util.find_spec(library) else library
    except (ImportError, ValueError):
        return library


def _engine(spec: EngineSpec, path: Path) -> Engine:
    """Engines are imported here and nowhere else: vLLM alone takes seconds."""
    match spec.kind:
        case "vllm":
            from engines.vllm.engine import VllmEngine

            return VllmEngine(spec, str(path))
        case "llamacpp":
            from engines.llamacpp.engine import LlamacppEngine

            return LlamacppEngine(spec, path)
        case "scripted":
            from engines.testing.scripted import ScriptedEngine

            return ScriptedEngine(spec)


def _weights(spec: EngineSpec, data_dir: Path, progress: WeightsProgress) -> Awaitable[Path]:
    """In a daemon thread of its own: a download that is given up must not keep the process."""
    loop = asyncio.get_running_loop()
    resolved: concurrent.futures.Future[Path] = concurrent.futures.Future()

    def report(what: str, done: int | None, total: int | None) -> None:
        if resolved.cancelled():
            raise _Abandoned
        loop.call_soon_threadsafe(progress, spec, what, done, total)

    def run() -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # given up
            try:
                resolved.set_result(resolve(spec, data_dir, report))
            except Exception as error:
                resolved.set_exception(error)

    threading.Thread(target=run, daemon=True, name=f"weights {spec.key}").start()
    return asyncio.wrap_future(resolved)
