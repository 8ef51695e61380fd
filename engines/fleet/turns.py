"""Who leaves when another engine needs the memory: pure, over a snapshot of the engines.

An idle engine may leave once it settled, one that sleeps at once. A busy one has its turn first, at
least as long as it takes to come back, or models which cannot stand together would do nothing but
load; then it takes no new request, ends those it has, and leaves. Only somebody who waits makes
another leave, and the longest waiting comes first, so nobody starves: with n engines that want the
same memory a request waits for at most n - 1 turns, each with the longest request and a load.

Patient requests, those of batches, yield: who waits for them comes after everybody else, an engine
that has no others leaves as an idle one does, and one that has, or had a moment ago, stays for
longer.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.held_memory import without
from engines.fleet.view import EngineView

LATER = sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRules:
    """How long an engine stays though another wants its memory (seconds)."""

    settle_s: float = 5.0
    """After its last request, or after its start; as long as its load took, where that was less, or
    as its wake does, where it sleeps instead of being stopped."""
    turn_s: float = 60.0
    """While it has requests; as long as its load took, or its wake does, where that is longer."""

    patient_turn_s: float = 600.0
    """The same where all that want its memory is patient."""

    def may_leave_at(self, engine: EngineView, *, to_patient: bool = False) -> float:
        """math.inf: not at all. LATER: it is not known yet. `to_patient`: nobody else wants it."""
        if engine.is_pinned or engine.is_broken:
            return math.inf
        if engine.state in ("starting", "waking"):
            return LATER
        if engine.state == "sleeping":
            return engine.asleep_at or 0.0
        if engine.state != "ready":
            return math.inf
        turn_ends = engine.ready_at + max(self._turn_s(engine, to_patient), engine.back_s)
        if engine.is_busy or (to_patient and engine.leases):
            return turn_ends
        settled = max(engine.ready_at, engine.used_at) + min(self.settle_s, engine.back_s)
        if to_patient:
            settled = max(settled, self._settled_for_patient(engine))
        # with its last request it gets no time anew
        return min(turn_ends, settled) if engine.is_leaving else settled

    def _settled_for_patient(self, engine: EngineView) -> float:
        """Whoever used it a moment ago may be back, and is not to wait for two loads."""
        own = engine.patient_used_at + min(self.settle_s, engine.back_s)
        others = engine.used_at + max(self.turn_s, engine.back_s) if engine.used_at else 0.0
        return max(own, others)

    def _turn_s(self, engine: EngineView, to_patient: bool) -> float:
        return self.patient_turn_s if to_patient and engine.is_busy else self.turn_s

    def loss(self, engine: EngineView, now: float) -> tuple[float, ...]:
        """Who goes first: one that sleeps, or is going already, then idle ones, then those with
        patient requests alone; among those one whose replica serves on, then the one that is back
        quickly and whose last use is long ago."""
        if engine.state == "sleeping":
            return (False, False, False, False, engine.asleep_at or 0.0)
        idle_s = max(0.0, now - max(engine.ready_at, engine.used_at))
        regret = engine.ready_at if engine.leases else (1.0 + engine.back_s) / (1.0 + idle_s)
        has_any = engine.leases > 0
        return (not engine.is_leaving, engine.is_busy, has_any, not engine.is_spare, regret)

    def leavers(
        self,
        need: MemoryNeed,
        room: DeviceMemory,
        taken: Mapping[int, int],
        engines: Sequence[EngineView],
        now: float,
        *,
        to_patient: bool = False,
    ) -> list[EngineView] | None:
        """The fewest that must go now so that `need` finds room; None: there are no such engines.
        `taken`: bytes by device, those of `engines` included."""
        able = [e for e in engines if self.may_leave_at(e, to_patient=to_patient) <= now]
        able.sort(key=lambda engine: self.loss(engine, now))
        return fewest(need, room, taken, able)

    def later_leavers(
        self,
        need: MemoryNeed,
        room: DeviceMemory,
        taken: Mapping[int, int],
        engines: Sequence[EngineView],
        *,
        to_patient: bool = False,
    ) -> list[EngineView] | None:
        """The same of all that will go once their time is over, those first whose is soonest."""
        times = [(self.may_leave_at(engine, to_patient=to_patient), engine) for engine in engines]
        able = [(at, engine) for at, engine in times if at < math.inf]
        able.sort(key=lambda each: each[0])
        return fewest(need, room, taken, [engine for _, engine in able])


def fewest(
    need: MemoryNeed, room: DeviceMemory, taken: Mapping[int, int], able: Sequence[EngineView]
) -> list[EngineView] | None:
    """Of `able`, from the first on, those without whom `need` finds room; None: it never does."""
    gone: list[EngineView] = []
    for engine in able:
        if room.place(need, without(taken, gone)) is not None:
            break
        if engine.devices:
            gone.append(engine)
    if room.place(need, without(taken, gone)) is None:
        return None
    for engine in reversed(gone[:]):
        rest = [other for other in gone if other is not engine]
        if room.place(need, without(taken, rest)) is not None:
            gone = rest
    return gone
