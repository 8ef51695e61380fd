"""A VllmEngine that stands on this machine or on others, wherever the fleet puts it."""

import asyncio
from functools import partial
from typing import Any

from engines.adapter import FindAdapter, own_folder
from engines.base import EngineDead
from engines.registry.spec import EngineSpec
from engines.vllm.engine import VllmEngine
from engines.vllm.ray.cluster import RayCluster
from engines.vllm.ray.elsewhere import RemoteCore
from engines.vllm.start import load

_LOOK_S = 0.5


class ClusterEngine(VllmEngine):
    """Satisfies engines.base.Engine."""

    def __init__(
        self,
        spec: EngineSpec,
        path: str,
        cluster: RayCluster,
        find_adapter: FindAdapter = own_folder,
    ) -> None:
        super().__init__(spec, path, find_adapter=find_adapter)
        self._cluster = cluster
        self._core: RemoteCore | None = None

    def assign(self, cards: tuple[int, ...], part: float) -> None:
        super().assign(cards, part)
        place = self._cluster.place(cards)
        if place is not None:
            self._core = RemoteCore(place)
            self._load = partial(load, make=self._core.make)

    async def check(self, timeout_s: float) -> None:
        """Elsewhere its nodes are looked at too, which takes seconds where a step takes long."""
        if self._core is None:
            return await super().check(timeout_s)
        asked = asyncio.ensure_future(super().check(timeout_s))
        try:
            while not asked.done():
                self._core.check()
                await asyncio.wait([asked], timeout=_LOOK_S)
            self._core.check()
            asked.result()
        except EngineDead:
            self._core.check()  # says more than vLLM does
            raise
        finally:
            asked.cancel()

    def _end(self, llm: Any) -> None:
        if self._core is not None:
            self._core.end()
        super()._end(llm)

    def sleep_refusal(self) -> str | None:
        if self._core is not None:
            return "This engine cannot sleep: on another machine it has its cards for itself alone."
        return super().sleep_refusal()
