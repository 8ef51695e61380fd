"""Where adapters' files are: of the hub, they are fetched once for all who ask, and checked."""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from engines.base import Adapter, EngineUnavailable
from engines.host.child_job import Progress
from engines.registry.adapters import RETRY_S, AdapterUnavailable, HubFolder
from engines.registry.spec import AdapterSource
from engines.weights.background import in_background
from engines.weights.resolve import resolve
from engines.weights.store import stored_weights
from engines.weights.verifying import refuse_damaged

log = logging.getLogger("fjord.weights")

_POLL_S = 1.0


def hub_folder(data_dir: Path, environment: Mapping[str, str] | None = None) -> HubFolder:
    """The stores of fetched weights and of the installed bundle. Asks no hub."""
    around = os.environ if environment is None else environment

    def folder(source: str, revision: str | None) -> Path | None:
        return stored_weights(AdapterSource(source=source, revision=revision), data_dir, around)

    return folder


class AdapterFiles:
    """A FindAdapter. Belongs to the event loop."""

    def __init__(
        self, data_dir: Path, *, stall_timeout_s: float = 600.0, verifies: bool = False
    ) -> None:
        """As EngineBuilder has them."""
        self._data_dir, self._verifies = data_dir, verifies
        self._stall_timeout_s = stall_timeout_s
        self._folders: dict[str, Path] = {}
        self._fetches: dict[str, asyncio.Task[Path]] = {}
        self._failures: dict[str, tuple[float, EngineUnavailable]] = {}
        """When it failed, and why; by the adapter's name, as all of these."""

    async def __call__(self, adapter: Adapter) -> Path:
        """Raises AdapterUnavailable, for RETRY_S after a fetch that failed without another. Who is
        cancelled leaves the fetch to the others."""
        if not adapter.source:
            return Path(adapter.path)
        folder = self._folders.get(adapter.name)
        if folder is not None and await asyncio.to_thread(folder.is_dir):
            return folder
        self._refuse_what_just_failed(adapter.name)
        return await asyncio.shield(self._begun(adapter))

    def begin(self, adapter: Adapter) -> None:
        """Fetch it before anybody asks; what goes wrong is in the log."""
        if adapter.source:
            self._begun(adapter)

    def _begun(self, adapter: Adapter) -> "asyncio.Task[Path]":
        if (fetching := self._fetches.get(adapter.name)) is None:
            fetching = self._fetches[adapter.name] = asyncio.create_task(self._fetched(adapter))
            fetching.add_done_callback(_looked_at)
        return fetching

    def _refuse_what_just_failed(self, name: str) -> None:
        failed_at, error = self._failures.get(name, (0.0, None))
        if error is not None and time.monotonic() - failed_at < RETRY_S:
            raise AdapterUnavailable from error

    async def _fetched(self, adapter: Adapter) -> Path:
        try:
            folder = await self._in_time(adapter)
        except EngineUnavailable as error:
            log.error("the adapter %s cannot be had: %s", adapter.origin, error)
            self._failures[adapter.name] = time.monotonic(), error
            raise AdapterUnavailable from error
        else:
            self._failures.pop(adapter.name, None)
            self._folders[adapter.name] = folder
            return folder
        finally:
            del self._fetches[adapter.name]

    async def _in_time(self, adapter: Adapter) -> Path:
        """Ended where it gets no further."""
        moved = _Moved()
        what = f"adapter {adapter.name}"
        fetching = in_background(lambda told: self._resolved(adapter, told), moved.told, what)
        try:
            while not fetching.done():
                if moved.still_s() > self._stall_timeout_s:
                    limit = f"{self._stall_timeout_s:g} s"
                    raise EngineUnavailable(f"its files got no further for {limit}")
                await asyncio.wait([fetching], timeout=_POLL_S)
            return fetching.result()
        finally:
            fetching.cancel()

    def _resolved(self, adapter: Adapter, told: Progress) -> Path:
        """The commit that was here when the registry was read, else what its branch is now."""
        revision = adapter.commit or adapter.revision
        source = AdapterSource(source=adapter.source, revision=revision)
        folder = resolve(source, self._data_dir, told)
        if self._verifies:
            refuse_damaged(source, folder, told)
        return folder


class _Moved:
    """When a fetch last got further."""

    def __init__(self) -> None:
        self._last: tuple[str, int | None] | None = None
        self._at = time.monotonic()

    def told(self, what: str, done: int | None, total: int | None) -> None:
        if (what, done) != self._last:
            self._last, self._at = (what, done), time.monotonic()

    def still_s(self) -> float:
        return time.monotonic() - self._at


def _looked_at(fetching: "asyncio.Task[Path]") -> None:
    """Its failure was logged: asyncio need not do so again."""
    if not fetching.cancelled():
        fetching.exception()
