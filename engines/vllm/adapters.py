"""The adapters that one AsyncLLM has: each is added before a request names it, since a request
with a path that cannot be read ends vLLM's engine, and `add_lora` only says what is wrong."""

import asyncio
import logging
from typing import Any

from engines.base import Adapter, EngineUnavailable
from engines.registry.adapters import most_adapters
from engines.registry.spec import EngineSpec
from engines.vllm.errors import engine_error, raise_as

log = logging.getLogger("fjord.vllm")

RETRY_S = 30.0


class LoadedAdapters:
    """Belongs to the event loop."""

    def __init__(self, spec: EngineSpec) -> None:
        self._most = most_adapters(spec.args)
        self._requests: dict[str, Any] = {}
        """vLLM's LoRARequest of those that it holds, by name, the one last asked for at the end."""
        self._ids: dict[str, int] = {}
        self._one_by_one = asyncio.Lock()

    async def request(self, llm: Any, adapter: Adapter | None) -> Any:
        """vLLM's LoRARequest; None: without one. Raises EngineUnavailable, EngineDead."""
        if adapter is None:
            return None
        if (known := self._requests.pop(adapter.name, None)) is not None:
            self._requests[adapter.name] = known
            return known
        async with self._one_by_one:
            return await self._added(llm, adapter)

    def forget(self) -> None:
        """The engine has lost what it had of them."""
        self._requests.clear()
        self._ids = {name: number + len(self._ids) for name, number in self._ids.items()}

    async def _added(self, llm: Any, adapter: Adapter) -> Any:
        """Once more where others came since that it holds instead."""
        from vllm.lora.request import LoRARequest

        number = self._ids.setdefault(adapter.name, max(self._ids.values(), default=0) + 1)
        request = LoRARequest(adapter.name, number, adapter.path)
        try:
            await llm.add_lora(request)
        except Exception as error:
            if llm.errored:
                raise_as(engine_error(error, llm), error)
            log.error("the adapter %s cannot be added: %s", adapter.path, error)
            message = "The model's adapter cannot be loaded now; the server's log says why."
            raise EngineUnavailable(message, RETRY_S) from error
        self._requests[adapter.name] = request
        while len(self._requests) > self._most:
            del self._requests[next(iter(self._requests))]
        return request
