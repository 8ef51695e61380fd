"""All parts of a node, and the tasks by which its head starts and ends them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from engines.errors import EngineUnavailable
from engines.joined.tasks import Task
from engines.joined.weights_print import TellWeights
from engines.joined.wire import MOST_HALVES, PartState
from engines.planning.engine_arguments import vllm_arguments
from engines.registry.spec import EngineSpec
from engines.vllm.headless.part import Part
from engines.vllm.network import network_variables, overlaid

FindWeights: TypeAlias = Callable[[EngineSpec], Awaitable[Path]]
"""Where a spec's weights are on this machine, fetched where need be."""
_KEPT_S: Final = 30.0
"""How long a part that has ended is told of."""
REACH_S: Final = 5.0


class HeadlessParts:
    """Belongs to the event loop. Satisfies engines.joined.parts.Parts."""

    def __init__(
        self,
        find: FindWeights,
        prints: TellWeights,
        cards: int,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        """`cards`: how many this machine has."""
        self.changed = asyncio.Event()
        self.doing = ""
        self._find, self._prints = find, prints
        self._cards = cards
        self.address = ""
        self._say = say
        self._parts: dict[str, Part] = {}
        self._paths: dict[str, str] = {}
        """Of weights that the head has asked for, by the engine's key."""

    @property
    def tasks(self) -> Mapping[str, Task]:
        return {
            "part.weights": self._weights,
            "part.start": self._start,
            "part.ready": self._ready,
            "part.end": self._end,
            "part.reach": self._reach,
            "part.listen": self._listen,
        }

    def states(self) -> Sequence[PartState]:
        now = time.monotonic()
        for part in list(self._parts.values()):
            if part.ended_at is not None and now - part.ended_at > _KEPT_S:
                del self._parts[part.id]
        return [part.state for part in self._parts.values()]

    async def end(self, parts: Iterable[str]) -> None:
        going = [part for name in parts if (part := self._parts.pop(name, None)) is not None]
        running = [part for part in going if part.ended_at is None]
        await asyncio.gather(*(part.end() for part in going))
        for part in running:
            self._say(f"{part.engine}: {part.state.words or 'its part was ended.'}")
        if going:
            self.changed.set()

    async def end_all(self) -> None:
        await self.end(list(self._parts))

    async def _weights(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        spec = _spec(arguments)
        try:
            path = await self._find(spec)
        finally:
            self.doing = ""
        self._paths[spec.group] = str(path)
        told: dict[str, Any] = msgspec.to_builtins(
            await asyncio.to_thread(self._prints, spec, path)
        )
        return told

    def told(self, what: str, done: int | None, total: int | None) -> None:
        """What is done for weights now; bytes or steps done, of how many."""
        share = f" {100 * (done or 0) // total} %" if total else ""
        self.doing = f"{what}{share}"[:500]

    async def _start(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises EngineUnavailable, OSError."""
        spec, name = _spec(arguments), str(arguments["part"])
        path = self._paths.get(spec.group)
        if path is None:
            raise EngineUnavailable("its weights were not asked for")
        if name in self._parts or len(self.states()) >= MOST_HALVES:
            raise EngineUnavailable("it has that part, or too many, already")
        cards = self._free_cards(vllm_arguments(spec).cards_here)
        part = Part(name, spec.key, cards, lambda: self._has_changed(name))
        self._parts[name] = part
        more = {**dict(arguments["arguments"]), **({"device_ids": list(cards)} if cards else {})}
        told = {"spec": msgspec.to_builtins(spec), "path": path, "arguments": more}
        try:
            part.start(told, overlaid(network_variables(self.address)))
        except BaseException:
            del self._parts[name]
            raise
        rank, count = more["node_rank"], more["nnodes"]
        self._say(f"{spec.key}: part {rank + 1} of {count} starts.")
        self.changed.set()
        return {}

    def _free_cards(self, count: int) -> tuple[int, ...]:
        """Raises EngineUnavailable."""
        if not self._cards:
            return ()
        taken = {card for part in self._parts.values() for card in part.cards}
        free = [card for card in range(self._cards) if card not in taken]
        if len(free) < count:
            raise EngineUnavailable(f"it needs {count} cards, and {len(free)} are free here")
        return tuple(free[:count])

    def _has_changed(self, name: str) -> None:
        self.changed.set()
        if (part := self._parts.get(name)) is not None and part.state.words:
            self._say(f"{part.engine}: {part.state.words}")

    async def _ready(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if (part := self._parts.get(str(arguments["part"]))) is not None:
            part.is_ready()
            self._say(f"{part.engine}: it serves.")
        return {}

    async def _end(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        await self.end([str(arguments["part"])])
        return {}

    async def _reach(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Whether this machine reaches a port of its head. Raises OSError, TimeoutError."""
        await reached(str(arguments["address"]), int(arguments["port"]))
        return {}

    async def _listen(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """A port of this machine that is open for one connection, or a moment."""
        server = await asyncio.start_server(lambda _, writer: seen(writer), self.address, 0)
        timer = asyncio.get_running_loop().call_later(2 * REACH_S, server.close)

        def seen(writer: asyncio.StreamWriter) -> None:
            writer.close()
            timer.cancel()
            server.close()

        return {"address": self.address, "port": server.sockets[0].getsockname()[1]}


async def reached(address: str, port: int) -> None:
    """Raises EngineUnavailable."""
    try:
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        raise EngineUnavailable(f"{address}:{port} does not answer") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise EngineUnavailable(f"{address}:{port} is not reached: {why}") from None
    writer.close()


def _spec(arguments: Mapping[str, Any]) -> EngineSpec:
    """Raises EngineUnavailable for what no node runs."""
    spec = msgspec.convert(arguments["spec"], EngineSpec)
    if spec.kind != "vllm":
        raise EngineUnavailable(f"a node runs parts of vLLM, and nothing of {spec.kind}")
    return spec
