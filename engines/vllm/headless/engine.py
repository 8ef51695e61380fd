"""A vLLM engine on several machines: as the one on one machine, and it ends with any of them."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any, Final

from engines.adapter import FindAdapter, own_folder
from engines.base import EngineDead, EngineError, EngineUnavailable
from engines.joined.nodes import JoinedNodes
from engines.joined.weights_print import TellWeights
from engines.planning.engine_arguments import vllm_arguments
from engines.registry.spec import EngineSpec
from engines.vllm.engine import Load, VllmEngine
from engines.vllm.headless.group import NodeGroup
from engines.vllm.start import load

_LAST_WORDS_S: Final = 3.0
"""Where the head's own part fails, one of the others may have been the cause."""


class SpanningEngine(VllmEngine):
    """Satisfies engines.base.Engine."""

    def __init__(
        self,
        spec: EngineSpec,
        path: str,
        nodes: JoinedNodes,
        prints: TellWeights,
        load: Load = load,
        find_adapter: FindAdapter = own_folder,
    ) -> None:
        super().__init__(spec, path, load, find_adapter)
        self._nodes, self._prints = nodes, prints
        self._group: NodeGroup | None = None

    @property
    def waits_for(self) -> str | None:
        """What it waits for, in words."""
        return None if self._group is None else self._group.waits_for

    async def others_here(self) -> None:
        self._group = NodeGroup(self._nodes, self._prints, self._spec, self._path)
        await self._group.others_here()

    async def start(self) -> None:
        group = self._group or NodeGroup(self._nodes, self._prints, self._spec, self._path)
        self._group = group
        try:
            self._spec = replace(self._spec, args={**self._spec.args, **await group.begin()})
            await self._start_beside(group)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                group.gave_up()
            await asyncio.shield(group.end())
            raise
        self._memory = tuple(self._memory)[: vllm_arguments(self._spec).cards_here]
        group.lost.add_done_callback(self._end_streams)
        await group.is_ready()

    async def _start_beside(self, group: NodeGroup) -> None:
        """The head's own part, as long as the others are there."""
        starting = asyncio.ensure_future(super().start())
        try:
            await _either(group.lost, starting)
            if starting.done() and starting.exception() is not None:
                await asyncio.wait([group.lost], timeout=_LAST_WORDS_S)
            if group.lost.done():
                raise EngineUnavailable(group.lost.result())
            starting.result()
        except BaseException:
            if starting.done() and starting.exception() is None:
                await super().stop()
            raise
        finally:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, EngineError):
                await starting

    def _end_streams(self, lost: "asyncio.Future[str]") -> None:
        for stream in self._running:
            stream.put(EngineDead(lost.result()))

    async def stop(self) -> None:
        ending = [super().stop()]
        if self._group is not None:
            ending.append(self._group.end())
        await asyncio.gather(*ending)

    async def check(self, timeout_s: float) -> None:
        self._alive()
        assert self._group is not None
        asking = asyncio.ensure_future(super().check(timeout_s))
        try:
            await _either(self._group.lost, asking)
            self._raise_if_lost()
            await asking
        finally:
            asking.cancel()

    def _alive(self) -> object:
        self._raise_if_lost()
        return super()._alive()

    def _raise_if_lost(self) -> None:
        if self._group is not None and self._group.lost.done():
            raise EngineDead(self._group.lost.result())

    def sleep_refusal(self) -> str | None:
        return "Engines on several machines cannot sleep; right would be to unload it."


async def _either(lost: "asyncio.Future[str]", work: "asyncio.Future[None]") -> None:
    both: list[asyncio.Future[Any]] = [lost, work]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
