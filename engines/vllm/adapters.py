"""The adapters that one AsyncLLM has: each is added before a request names it, since a request
with a path that cannot be read ends vLLM's engine, and `add_lora` only says what is wrong."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from engines.adapter import FindAdapter
from engines.base import Adapter
from engines.planning.adapter_fit import check_adapter
from engines.registry.adapters import AdapterUnavailable, most_adapters
from engines.registry.spec import EngineSpec
from engines.vllm.errors import engine_error, raise_as

log = logging.getLogger("fjord.vllm")


class LoadedAdapters:
    """Belongs to the event loop."""

    def __init__(self, spec: EngineSpec, base: Path, find: FindAdapter) -> None:
        """`base`: the engine's own weights."""
        self._args, self._base, self._find = spec.args, base, find
        self._most = most_adapters(spec.args)
        self._requests: dict[str, Any] = {}
        """vLLM's LoRARequest of those that it holds, by name, the one last asked for at the end."""
        self._ids: dict[str, int] = {}
        self._one_by_one = asyncio.Lock()

    async def request(self, llm: Any, adapter: Adapter | None) -> Any:
        """vLLM's LoRARequest; None: without one. Raises AdapterUnavailable, EngineDead."""
        if adapter is None:
            return None
        if (known := self._known(adapter)) is not None:
            return known
        folder = await self._checked(adapter)
        async with self._one_by_one:
            return self._known(adapter) or await self._added(llm, adapter, folder)

    def forget(self) -> None:
        """The engine has lost what it had of them."""
        self._requests.clear()
        self._ids = {name: number + len(self._ids) for name, number in self._ids.items()}

    def _known(self, adapter: Adapter) -> Any:
        if (known := self._requests.pop(adapter.name, None)) is not None:
            self._requests[adapter.name] = known
        return known

    async def _checked(self, adapter: Adapter) -> Path:
        """Its folder, fetched where need be: others do not wait for that."""
        try:
            folder = await self._find(adapter)
            await asyncio.to_thread(check_adapter, adapter, folder, self._args, self._base)
        except ValueError as error:
            raise _unavailable(adapter, error) from error
        return folder

    async def _added(self, llm: Any, adapter: Adapter, folder: Path) -> Any:
        """Once more where others came since that it holds instead."""
        from vllm.lora.request import LoRARequest

        number = self._ids.setdefault(adapter.name, max(self._ids.values(), default=0) + 1)
        request = LoRARequest(adapter.name, number, str(folder))
        try:
            await llm.add_lora(request)
        except Exception as error:
            if llm.errored:
                raise_as(engine_error(error, llm), error)
            raise _unavailable(adapter, error) from error
        self._requests[adapter.name] = request
        while len(self._requests) > self._most:
            del self._requests[next(iter(self._requests))]
        return request


def _unavailable(adapter: Adapter, error: Exception) -> AdapterUnavailable:
    log.error("the adapter %s cannot be added: %s", adapter.origin, error)
    return AdapterUnavailable()
