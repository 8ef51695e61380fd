"""What `fjord plan` says of sleep: who sleeps, how deep, and what a turn then costs."""

from collections.abc import Iterator, Sequence
from typing import Any

from engines.fleet.planned_sleep import PlannedSleeper, SleepPlan
from engines.fleet.sleep_rules import Level


def sleep_paragraphs(found: SleepPlan) -> Iterator[str]:
    """Each to be wrapped; none where models need no turns, or nothing can sleep."""
    if found.is_on:
        yield from _levels(found)
        yield from _turns(found)
    elif found.sleepers and found.plan.turns > 1:
        yield _if_it_were_on(found)


def _levels(found: SleepPlan) -> Iterator[str]:
    at: dict[Level | None, list[PlannedSleeper]] = {}
    for each in found.sleepers:
        at.setdefault(each.level, []).append(each)
    budget = f" of {_gb(found.host_bytes)}" if found.host_bytes is not None else ""
    told = {
        None: "sleeps at level 1 where --sleep-memory has room for {0}, else at level 2",
        1: "sleeps at level 1 (weights wait in memory: {0}{1})",
        2: "sleeps at level 2 (weights are read again)",
    }
    for level, sleepers in at.items():
        weights = _gb(sum(each.weights_bytes for each in sleepers))
        yield f"{_names(sleepers)} {told[level].format(weights, budget)}"


def _turns(found: SleepPlan) -> Iterator[str]:
    if found.plan.turns > 1:
        each = [
            f"turn {turn} {_returns(found, turn)} instead of {found.loads_s(turn):.0f}"
            for turn in range(1, found.plan.turns + 1)
        ]
        yield f"Back from sleep, about: {', '.join(each)}"


def _returns(found: SleepPlan, turn: int) -> str:
    """One figure where levels are known."""
    if all(each.level for each in found.sleepers):
        return f"{found.returns_s(turn):.0f} s"
    return f"{found.returns_s(turn, 1):.0f} s (level 2: {found.returns_s(turn, 2):.0f})"


def _if_it_were_on(found: SleepPlan) -> str:
    turns = range(1, found.plan.turns + 1)
    weights = _gb(sum(each.weights_bytes for each in found.sleepers))
    return (
        f"A turn loads for {_span([found.loads_s(turn) for turn in turns])} s. With args "
        "{enable_sleep_mode: true} it would be back in "
        f"{_span([found.returns_s(turn, 1) for turn in turns])} s from level 1 ({weights} of the "
        f"machine's memory for all), {_span([found.returns_s(turn, 2) for turn in turns])} s from "
        "level 2. Estimates, that no card has confirmed."
    )


def _names(sleepers: Sequence[PlannedSleeper]) -> str:
    return ", ".join(each.placed.asked.aliases[0] for each in sleepers)


def _span(seconds: Sequence[float]) -> str:
    least, most = f"{min(seconds):.0f}", f"{max(seconds):.0f}"
    return least if least == most else f"{least} to {most}"


def _gb(count: int | None) -> str:
    return f"{(count or 0) / 1e9:.0f} GB"


def sleep_as_json(found: SleepPlan) -> dict[str, Any]:
    """Seconds are estimates, until a server has seen a load and a wake."""
    turns = range(1, found.plan.turns + 1)
    return {
        "memory_bytes": found.host_bytes,
        "engines": [_sleeper(each) for each in found.sleepers],
        "turns": [
            {
                "load_s": round(found.loads_s(turn), 1),
                "wake_from_level_1_s": round(found.returns_s(turn, 1), 1),
                "wake_from_level_2_s": round(found.returns_s(turn, 2), 1),
            }
            for turn in turns
        ],
    }


def _sleeper(each: PlannedSleeper) -> dict[str, Any]:
    return {
        "engine": each.placed.asked.spec.key,
        "aliases": list(each.placed.asked.aliases),
        "is_enabled": each.is_on,
        "level": each.level,
        "weights_bytes": each.weights_bytes,
        "kept_bytes_per_card": each.kept_bytes_each,
        "wake_from_level_1_s": round(each.wake_s(1), 1),
        "wake_from_level_2_s": round(each.wake_s(2), 1),
    }
