"""EngineSpec -> an engine that is not started yet: its weights found, its library imported."""

import asyncio
import importlib.util
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engines.base import Adapter, Engine, EngineBroken, EngineUnavailable
from engines.fleet.pace import FetchPace
from engines.host.child_job import Progress
from engines.joined.nodes import JoinedNodes
from engines.planning.engine_arguments import is_bound_here
from engines.planning.machine import Machine, this_machine
from engines.registry.adapters import AdapterUnavailable
from engines.registry.several_machines import machines
from engines.registry.spec import EngineSpec
from engines.vllm.ray.cluster import RayCluster
from engines.weights.adapter_files import AdapterFiles
from engines.weights.background import in_background
from engines.weights.fingerprint import fingerprint
from engines.weights.refusal import refuse_what_never_fits
from engines.weights.resolve import resolve
from engines.weights.size import weights_bytes
from engines.weights.verifying import refuse_damaged

WeightsProgress: TypeAlias = Callable[[EngineSpec, str, int | None, int | None], None]
"""What is being done for a spec's weights; bytes or steps done, of how many (None: unknown)."""

LIBRARIES = {"vllm": "vllm", "llamacpp": "xllamacpp"}


def no_peer(spec: EngineSpec) -> Engine:
    """Of a server without a site."""
    raise EngineBroken("there is no site with other servers")


class EngineBuilder:
    """How a fleet builds its engines. `progress` is called on the event loop."""

    def __init__(
        self,
        data_dir: Path,
        progress: WeightsProgress,
        *,
        stall_timeout_s: float = 600.0,
        verifies: bool = False,
        cluster: RayCluster | None = None,
        machine: Callable[[], Machine] = this_machine,
        peer: Callable[[EngineSpec], Engine] = no_peer,
        nodes: JoinedNodes | None = None,
    ) -> None:
        """A fetch that gets no further for `stall_timeout_s` ends with EngineUnavailable. With
        `verifies` every byte is compared before an engine is built. `machine`: what they may stand
        on, the cards of `cluster` among it. `peer`: makes an engine that stands on another node.
        `nodes`: machines that run parts of engines; None: none do."""
        self._cluster, self._machine, self._peer = cluster, machine, peer
        self._data_dir = data_dir
        self._verifies, self._nodes = verifies, nodes
        self._progress = progress
        self._stall_timeout_s = stall_timeout_s
        self.adapters = AdapterFiles(data_dir, stall_timeout_s=stall_timeout_s, verifies=verifies)
        self._weights_bytes: dict[str, int] = {}
        self._paces: dict[str, FetchPace] = {}
        """Of what is fetched now."""

    async def __call__(self, spec: EngineSpec) -> Engine:
        if spec.kind == "peer":
            return self._peer(spec)
        if spec.kind == "scripted":
            return self._engine(spec, Path(), {})
        path = await self.fetched(spec)
        self._weights_bytes[spec.key] = weights_bytes(path, spec.projector)
        return self._engine(spec, path, await self._places(spec))

    def _engine(self, spec: EngineSpec, path: Path, places: Mapping[str, Path]) -> Engine:
        """Engines are imported here and nowhere else: vLLM alone takes seconds."""
        match spec.kind:
            case "vllm" if self._cluster is not None and not is_bound_here(spec):
                from engines.vllm.ray.engine import ClusterEngine

                return ClusterEngine(spec, str(path), self._cluster, self.adapters)
            case "vllm" if machines(spec.args) > 1:
                from engines.vllm.headless.engine import SpanningEngine
                from engines.vllm.start import load

                if (nodes := self._nodes) is None:
                    raise EngineUnavailable(
                        "It needs other machines, which only `fjord serve` has."
                    )
                keeping = partial(load, data_dir=self._data_dir)
                return SpanningEngine(spec, str(path), nodes, fingerprint, keeping, self.adapters)
            case "vllm":
                from engines.vllm.engine import VllmEngine
                from engines.vllm.start import load

                keeping = partial(load, data_dir=self._data_dir)
                return VllmEngine(spec, str(path), keeping, self.adapters)
            case "llamacpp":
                from engines.llamacpp.engine import LlamacppEngine

                return LlamacppEngine(spec, path, places)
            case "scripted":
                from engines.testing.scripted import ScriptedEngine

                return ScriptedEngine(spec, self.adapters)
            case "peer":
                raise EngineBroken("it stands on another node")

    async def _places(self, spec: EngineSpec) -> dict[str, Path]:
        """Of its adapters, by name, without those that cannot be had."""
        found = await asyncio.gather(*map(self._place, spec.adapters))
        return {name: place for name, place in found if place is not None}

    async def _place(self, adapter: Adapter) -> tuple[str, Path | None]:
        try:
            return adapter.name, await self.adapters(adapter)
        except AdapterUnavailable:
            return adapter.name, None

    def weights_bytes(self, spec: EngineSpec) -> int:
        """0 for what was not built yet, or has no weights."""
        return self._weights_bytes.get(spec.key, 0)

    def pace(self, spec: EngineSpec) -> FetchPace | None:
        """Of its weights, while they are fetched."""
        return self._paces.get(spec.key)

    async def fetched(self, spec: EngineSpec) -> Path:
        """Where its weights are on this machine. Raises EngineUnavailable."""
        self._paces[spec.key] = FetchPace.begun("", None, None, time.monotonic())
        fetching = in_background(
            lambda told: self._resolved(spec, told),
            lambda *step: self._told(spec, *step),
            f"weights {spec.key}",
        )
        try:
            while not fetching.done():
                await asyncio.wait([fetching], timeout=self._patience_s(self._paces[spec.key]))
            return fetching.result()
        finally:
            fetching.cancel()
            del self._paces[spec.key]

    def _resolved(self, spec: EngineSpec, told: Progress) -> Path:
        refuse_what_never_fits(spec, self._data_dir, told, self._machine)
        path = resolve(spec, self._data_dir, told)
        if self._verifies:
            refuse_damaged(spec, path, told)
        return path

    def _patience_s(self, pace: FetchPace) -> float:
        left_s = pace.moved_at + self._stall_timeout_s - time.monotonic()
        if left_s > 0:
            return left_s
        percent = pace.percent()
        share = "" if percent is None else f" at {percent} %"
        raise EngineUnavailable(
            f"its weights got no further for {self._stall_timeout_s:g} s "
            f"({pace.what or 'nothing was heard'}{share})"
        )

    def _told(self, spec: EngineSpec, what: str, done: int | None, total: int | None) -> None:
        if (pace := self._paces.get(spec.key)) is not None:
            self._paces[spec.key] = pace.told(what, done, total, time.monotonic())
        self._progress(spec, what, done, total)


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
