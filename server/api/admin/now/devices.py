"""Cards and the machine's memory: what is planned of them, what is taken, what caches hold."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import psutil

from engines.fleet.device_memory import HOST
from engines.fleet.node_memory import NodeMemory
from engines.fleet.status import EngineStatus
from engines.planning.cards import Card
from engines.planning.demands import capacity
from server.api.admin.now.wire import DeviceNow, EngineOnDevice

READ_EVERY_S: Final = 5.0
_WAIT_S: Final = 0.3


class CardUse:
    """What each card has free, whoever holds the rest: asked of the driver in a thread, once in
    READ_EVERY_S while somebody looks. Belongs to the event loop."""

    def __init__(self, ask: Callable[[], Sequence[int]]) -> None:
        self._ask = ask
        self._asking: asyncio.Future[Sequence[int]] | None = None
        self._asked_at = -READ_EVERY_S
        self.free: Sequence[int] = ()

    async def read(self) -> None:
        """Waits _WAIT_S at most; a driver that takes longer is heard at a later look."""
        now = time.monotonic()
        if self._asking is None and now - self._asked_at >= READ_EVERY_S:
            self._asked_at = now
            self._asking = asyncio.ensure_future(asyncio.to_thread(self._ask))
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=_WAIT_S)
            self._take(self._asking)

    def _take(self, asking: "asyncio.Future[Sequence[int]]") -> None:
        if asking.done():
            self._asking = None
            failed = asking.cancelled() or asking.exception() is not None
            self.free = () if failed else asking.result()


def devices_now(
    memory: NodeMemory, engines: Iterable[EngineStatus], free: Sequence[int]
) -> list[DeviceNow]:
    """`free`: bytes of each card. The machine's own memory comes last, where an engine is there
    or there is no card."""
    engines = list(engines)
    cards = () if memory.plan is None else memory.plan.machine.cards
    found = [_card(i, card, engines, free) for i, card in enumerate(cards)]
    if not cards or any(HOST in engine.devices for engine in engines):
        found.append(_host(memory, engines))
    return found


def _card(
    index: int, card: Card, engines: Sequence[EngineStatus], free: Sequence[int]
) -> DeviceNow:
    used = card.total_bytes - free[index] if index < len(free) else None
    return _device(
        [on_device(e, index) for e in engines if index in e.devices],
        card=index,
        name=f"{card} in {card.node}" if card.node else str(card),
        total=card.total_bytes,
        usable=capacity(card),
        used=None if used is None else max(0, used),
    )


def _host(memory: NodeMemory, engines: Sequence[EngineStatus]) -> DeviceNow:
    machine = psutil.virtual_memory()
    usable = None if memory.room is None else memory.room.host_bytes
    return _device(
        [on_device(e, HOST) for e in engines if HOST in e.devices],
        card=None,
        name="",
        total=machine.total,
        usable=machine.total if usable is None else usable,
        used=machine.total - machine.available,
    )


def _device(
    engines: list[EngineOnDevice],
    *,
    card: int | None,
    name: str,
    total: int,
    usable: int,
    used: int | None,
) -> DeviceNow:
    return DeviceNow(
        card=card,
        name=name,
        total_bytes=total,
        usable_bytes=usable,
        planned_bytes=sum(each.planned_bytes for each in engines),
        used_bytes=used,
        kv_bytes=_sum(each.kv_bytes for each in engines),
        kv_used_bytes=_sum(each.kv_used_bytes for each in engines),
        engines=engines,
    )


def on_device(engine: EngineStatus, device: int) -> EngineOnDevice:
    """An engine's part of one of its devices: caches are as large on all of its cards."""
    devices = max(1, len(engine.devices))
    kv = None if engine.kv_bytes is None else engine.kv_bytes // devices
    usage = None if engine.stats is None else engine.stats.kv_cache_usage
    return EngineOnDevice(
        aliases=list(engine.aliases),
        state=engine.state,
        planned_bytes=engine.held_bytes(device),
        measured_bytes=None if engine.measured_bytes is None else engine.measured_bytes // devices,
        kv_bytes=kv,
        kv_used_bytes=None if kv is None or usage is None else int(kv * usage),
    )


def _sum(sizes: Iterable[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None
