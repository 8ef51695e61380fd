"""What a machine does when it is asked: named tasks, each with bounded arguments and results."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from engines.probing.channel import ProbeTask
from engines.probing.files import SeenWeights, WantedWeights, seen_weights
from engines.probing.handshake import Handshake, shake_hands
from engines.probing.listeners import ProbeListeners
from engines.probing.reaching import reach, transfer
from engines.probing.told import NodeTold
from engines.probing.wire import (
    CLOCK,
    HANDSHAKE,
    LISTEN,
    REACH,
    TELL,
    TRANSFER,
    WEIGHTS,
    Listen,
    LookFor,
    ReachedAll,
    SeenAll,
    Transfer,
    TryPorts,
    read,
)


class Prober:
    """One machine's end of all probes. Belongs to the event loop."""

    def __init__(
        self,
        tell: Callable[[], NodeTold],
        data_dir: Path,
        clock: Callable[[], float] = time.time,
        listeners: ProbeListeners | None = None,
    ) -> None:
        self._tell, self._data_dir, self._clock = tell, data_dir, clock
        self._listeners = listeners or ProbeListeners()

    def tasks(self) -> Mapping[str, ProbeTask]:
        """By their names."""
        return {
            TELL: self._told,
            CLOCK: self._time,
            LISTEN: self._listen,
            REACH: self._reached,
            TRANSFER: self._transferred,
            WEIGHTS: self._weights,
            HANDSHAKE: self._shaken,
        }

    def close(self) -> None:
        self._listeners.close()

    async def _told(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return _fields(await asyncio.to_thread(self._tell))

    async def _time(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"now": self._clock()}

    async def _listen(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = read(arguments, Listen)
        number = bytes.fromhex(asked.number)
        ports, free = await self._listeners.open(number, asked.ports, asked.free, asked.seconds)
        return {"ports": [ports[port] for port in asked.ports], "free": free}

    async def _reached(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return _fields(ReachedAll(reached=tuple(await reach(read(arguments, TryPorts).targets))))

    async def _transferred(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return _fields(await transfer(read(arguments, Transfer).target))

    async def _weights(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = read(arguments, LookFor).models
        return _fields(SeenAll(seen=await asyncio.to_thread(self._seen, asked)))

    def _seen(self, asked: tuple[WantedWeights, ...]) -> tuple[SeenWeights, ...]:
        return tuple(seen_weights(each, self._data_dir) for each in asked)

    async def _shaken(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"seconds": await shake_hands(read(arguments, Handshake))}


def _fields(result: msgspec.Struct) -> Mapping[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(result)
    return told
