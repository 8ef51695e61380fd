"""Four models in memory for two, while their engines are killed and stopped under them.

python -m benchmarks.fleet_soak [--minutes 20] [--json benchmarks/results/fleet-soak.json]

A real `fjord serve` with two models on llama.cpp and two on vLLM's CPU build, all tiny and seeded,
and memory for one of each. Clients ask for all four, streamed and whole; every few seconds a random
engine process gets SIGKILL, or SIGSTOP for ever. It fails where a request does not end properly,
a token is billed otherwise than it was delivered, a request waits for longer than everybody's turn,
engines are loaded more often than their turns allow, a process is left at the end, or the server
keeps more memory, all models unloaded, than when each had been loaded once.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet_crowd import Crowd, Ended
from benchmarks.fleet_faults import Faults, children, is_alive_engine, tree_mib
from benchmarks.fleet_site import ALIASES, START_S, FleetSite
from benchmarks.machine import surroundings

STREAMS = 6
ENDS_WITHIN_S = 15.0
"""A server's processes, once it has ended itself."""
LONGEST_WAIT_S = 4 * (60 + 30 + START_S)
"""Everybody else's turn of a minute, its longest request, and a start."""
MORE_S = 600.0
"""A run may go on for so long where some model was not served yet, or no engine met a fault: one
that is stopped while it starts keeps its memory for its whole start limit."""
TURN_S = 5.0
"""The least that an engine stays once it is ready."""
MAY_KEEP_MIB = 64.0
"""More than before: what Python's and llama.cpp's allocators keep of dozens of loads."""


async def soak(site: FleetSite, seconds: float, seed: int) -> tuple[dict[str, Any], list[Ended]]:
    """The figures of one run and what was wrong, and all answers."""
    drawn = random.Random(seed)
    crowd = Crowd(site.port, site.key, STREAMS, drawn)
    faults = Faults(site.pid, drawn)
    began = time.monotonic()
    loads_before = site.loads()

    def goes_on() -> bool:
        past_s = time.monotonic() - began
        is_enough = faults.done and not unserved(crowd.ended)
        return past_s < seconds or (not is_enough and past_s < seconds + MORE_S)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.run(goes_on))
        tasks.create_task(faults.run(goes_on))
    over_s = time.monotonic() - began
    loads = {alias: site.loads()[alias] - loads_before[alias] for alias in ALIASES}
    figures = {
        "seconds": round(over_s, 1),
        "requests": len(crowd.ended),
        "ends": dict(Counter(ended.end for ended in crowd.ended)),
        "longest_wait_s": waits(crowd.ended),
        "loads": loads,
        "faults": dict(faults.done),
        "wrong": [*crowd.wrong, *wrong(crowd.ended, loads, sum(faults.done.values()), over_s)],
    }
    return figures, crowd.ended


def first_memory_mib(site: FleetSite) -> float:
    """Each model was loaded once, and none is loaded."""
    for alias in ALIASES:
        site.told("models", "load", alias)
    return unloaded_mib(site)


def unloaded_mib(site: FleetSite) -> float:
    """What the server and its processes hold where no model is loaded. Raises SystemExit where an
    engine's process stays."""
    for alias in ALIASES:
        site.told("models", "unload", alias)
    ends = time.monotonic() + ENDS_WITHIN_S
    while left := [each for each in children(site.pid) if is_alive_engine(each)]:
        if time.monotonic() > ends:
            raise SystemExit(f"Unloaded, and still there: {left}")
        time.sleep(0.1)
    return tree_mib(site.pid)


def unserved(ended: list[Ended]) -> list[str]:
    """The models that answered no request whole."""
    served = {each.alias for each in ended if each.end == "done"}
    return [alias for alias in ALIASES if alias not in served]


def waits(ended: list[Ended]) -> dict[str, float]:
    return {
        alias: round(max((e.wait_s for e in ended if e.alias == alias), default=0.0), 1)
        for alias in ALIASES
    }


def wrong(ended: list[Ended], loads: dict[str, int], faults: int, over_s: float) -> list[str]:
    """What the run itself may not show; the ledger is looked at when the server has ended."""
    found = [
        f"{alias} waited for {wait_s} s"
        for alias, wait_s in waits(ended).items()
        if wait_s > LONGEST_WAIT_S
    ]
    most = over_s / TURN_S + len(ALIASES) + faults
    if sum(loads.values()) > most:
        found.append(f"{sum(loads.values())} loads in {over_s:.0f} s, over {most:.0f}")
    return found + [f"no answer of {alias}" for alias in unserved(ended)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/fleet-soak.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server goes with us
    result = run(given.minutes * 60, given.seed, with_memory=True)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps({**surroundings(), **result}, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    sys.exit(1 if result["wrong"] else 0)


def run(seconds: float, seed: int, *, with_memory: bool = False) -> dict[str, Any]:
    """One run on a server of its own; blocks until that has ended. `with_memory`: it is looked at
    before and after, which takes a load of each model more."""
    with tempfile.TemporaryDirectory(prefix="fleet-soak-") as folder:
        site = FleetSite(Path(folder))
        with site.serving():
            before_mib = first_memory_mib(site) if with_memory else 0.0
            result, ended = asyncio.run(soak(site, seconds, seed))
            if with_memory:
                result |= memory(before_mib, unloaded_mib(site), result["wrong"])
            theirs = children(site.pid)
        _, left = psutil.wait_procs(theirs, ENDS_WITHIN_S)
        result["wrong"] += [f"a process is left: {' '.join(p.cmdline())[:200]}" for p in left]
        result["wrong"] += site.differences(ended)
    return result


def memory(before_mib: float, after_mib: float, wrong: list[str]) -> dict[str, Any]:
    if after_mib - before_mib > MAY_KEEP_MIB:
        wrong.append(f"{after_mib} MiB are held with nothing loaded, {before_mib} before")
    return {"unloaded_mib_before": before_mib, "unloaded_mib_after": after_mib}


if __name__ == "__main__":
    main()
