"""How much of this node's memory an engine gets: asked before it is placed, waited for before it
starts."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from engines.base import Engine
from engines.fleet.device_memory import HOST, DeviceMemory, MemoryNeed
from engines.fleet.engine_state import ManagedEngine
from engines.memory_in_use import MemoryInUse, TellsMemory
from engines.planning.plan import FleetPlan
from engines.registry.spec import EngineSpec

log = logging.getLogger("fjord.fleet")

NeedOf = Callable[[EngineSpec], MemoryNeed | None]
FreeBytes = Callable[[], Sequence[int]]
Note = Callable[[EngineSpec, Sequence[int], Sequence[MemoryInUse]], None]
"""Keeps what an engine was seen to take of its cards, for the next plan."""
_LOOK_S = 0.5
_NEARLY = 0.97
"""Of what was planned: a card's free memory is never quite what it was."""


@runtime_checkable
class Placeable(Protocol):
    """An engine that can be told which devices it stands on."""

    def assign(self, cards: tuple[int, ...], part: float) -> None:
        """Called before `start`, with the cards' indices on this machine and the part of each
        whole card that it may take."""


class Elsewhere(Protocol):
    """Cards of other machines."""

    def absent(self) -> frozenset[int]:
        """Those of machines that do not answer now, by their indices."""

    def on_change(self, changed: Callable[[], object]) -> None:
        """Have it called, in any thread, whenever `absent` has changed."""


class NodeMemory:
    """`room` None: every engine is taken to fit beside the others."""

    def __init__(
        self,
        room: DeviceMemory | None = None,
        need: NeedOf = lambda spec: None,
        free_bytes: FreeBytes = tuple,
        wait_s: float = 90.0,
        note: Note = lambda spec, cards, uses: None,
        plan: FleetPlan | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`need`, `note` and `free_bytes` (of each card, whoever holds the rest) may block: they
        are asked in threads. A killed engine's memory is waited for at most `wait_s`. `plan`: what
        was planned at the start; None: nothing was. `elsewhere`: the machines whose cards `room`
        counts too."""
        self._room, self._need, self.free_bytes, self._wait_s = room, need, free_bytes, wait_s
        self.plan = plan
        self._note = note
        self._elsewhere = elsewhere

    @property
    def room(self) -> DeviceMemory | None:
        """As it is now: another machine may be away."""
        if self._room is None or self._elsewhere is None:
            return self._room
        return replace(self._room, absent=self._elsewhere.absent())

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called on this loop whenever `room` has changed."""
        loop = asyncio.get_running_loop()
        if self._elsewhere is not None:
            self._elsewhere.on_change(lambda: loop.call_soon_threadsafe(changed))

    def first_look(self, managed: ManagedEngine) -> None:
        """What it needs, as far as that is known before its weights are here. May block."""
        managed.need = self._need(managed.spec)

    async def look(self, managed: ManagedEngine) -> None:
        """Once its weights are here. A need that cannot be told stays what it was."""
        try:
            managed.need = await asyncio.to_thread(self._need, managed.spec)
        except Exception:
            log.exception("what engine %s needs could not be told again", managed.spec.key)

    async def placed(self, managed: ManagedEngine, engine: Engine) -> None:
        """Tell it its cards, once they have the memory that was planned for it."""
        need, cards = managed.need, tuple(d for d in managed.devices if d != HOST)
        if need is None or self.room is None or not cards:
            return
        await self._given_back(managed, need.bytes_each, cards)
        part = self.room.part(need, cards)
        if part is not None and isinstance(engine, Placeable):
            engine.assign(cards, part)

    async def measure(self, managed: ManagedEngine, engine: Engine) -> None:
        """What it took, now that it has started, where it can tell."""
        uses = engine.memory_in_use() if isinstance(engine, TellsMemory) else ()
        managed.measured_bytes = _sum([use.total_bytes for use in uses])
        managed.kv_bytes = _sum([use.kv_bytes for use in uses])
        cards = [device for device in managed.devices if device != HOST]
        if not uses or not cards:
            return
        try:
            await asyncio.to_thread(self._note, managed.spec, cards, uses)
        except Exception:  # the disk is full, say: the next plan has its estimate
            log.exception("what engine %s took could not be kept", managed.spec.key)

    async def free_again(self, managed: ManagedEngine) -> None:
        """Wait for the memory of its cards that an engine gave back to sleep."""
        need, cards = managed.need, tuple(d for d in managed.devices if d != HOST)
        if need is not None and cards:
            wanted = need.bytes_each - need.asleep_bytes_each
            await self._given_back(managed, wanted, cards)

    async def _given_back(self, managed: ManagedEngine, wanted: int, cards: Sequence[int]) -> None:
        """A process that was killed gives its cards' memory back some seconds later. What another
        program holds does not come back: then the engine says itself what it lacks."""
        ends = time.monotonic() + self._wait_s
        while short := await asyncio.to_thread(self._short, wanted, cards):
            if time.monotonic() >= ends:
                log.warning("engine %s: %s after %g s", managed.spec.key, short, self._wait_s)
                return
            await asyncio.sleep(_LOOK_S)

    def _short(self, wanted: int, cards: Sequence[int]) -> str | None:
        free = self.free_bytes()
        for card in cards:
            if card < len(free) and free[card] < wanted * _NEARLY:
                has, wants = free[card] / 1e9, wanted / 1e9
                return f"card {card} has {has:.1f} GB free of the {wants:.1f} planned"
        return None


def _sum(sizes: Sequence[int | None]) -> int | None:
    """None: one of them is not known, or there is none."""
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None
