"""What the gate of a full engine costs: one process and one engine behind two doors, in turn.

python -m benchmarks.fair_gate [--rounds 4] [--seats 32] [--json benchmarks/results/fair_gate.json]

Behind the gated door requests wait in the server while the engine is full, as shipped; behind the
open one all of them wait inside the engine. Neither has keys, limits or a ledger.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import uvloop

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP, Case
from benchmarks.doors import door, serving_doors
from benchmarks.figures import percentile
from benchmarks.ledger_cost import NoLedger, NoLimits
from benchmarks.machine import surroundings
from benchmarks.models import make_model
from benchmarks.servers import ALIAS, Server
from engines.base import Engine
from engines.build import EngineBuilder
from engines.fleet.fleet import Fleet
from engines.host.garbage import freeze_garbage
from server.accounts.auth import KeyRing
from server.app import FjordApp, create_app
from server.cli.registry_choice import open_registry
from server.fairness.gate import Gate
from server.fairness.gates import Gates
from server.settings import Settings

GATED, OPEN = "gated", "open"
DOORS = [GATED, OPEN]
CASES = [
    Case(streams=64, requests=256, output_tokens=128),
    Case(streams=256, requests=512, output_tokens=128),
]


class OpenGates(Gates):
    """Nobody waits at them."""

    def of(self, engine: Engine) -> Gate:
        gate = self._known.get(engine)
        if gate is None:
            gate = self._known[engine] = Gate(None, self.weight_of, self.waiting)
        return gate


async def serve(folder: Path, model: Path, engine_args: dict[str, Any]) -> None:
    """Both doors, until stdin ends; says their ports once the engine is ready."""
    settings = Settings(
        data_dir=folder,
        model=(f"{ALIAS}={model}",),
        engine="vllm",
        engine_arg=tuple(f"{name}={json.dumps(value)}" for name, value in engine_args.items()),
        no_auth=True,
    )
    registry = open_registry(settings)
    building = EngineBuilder(folder, lambda *_: None)
    fleet = Fleet(registry.models.values(), building, on_ready=freeze_garbage)
    await fleet.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(fleet.stop)
        ports = {}
        for name in DOORS:
            ledger = NoLedger.open(folder / name, node="bench", currency=registry.currency)
            app = create_app(settings, registry, fleet, ledger, KeyRing(), node="bench")
            services = cast(FjordApp, app.app).services
            services.limiter = NoLimits()
            if name == OPEN:
                services.gates = OpenGates()
            await services.supervisor.start()
            stack.push_async_callback(services.supervisor.stop)
            ports[name] = await stack.enter_async_context(door(app, "off"))
        async with fleet.lease(ALIAS):
            pass
        print(json.dumps({"ports": ports}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def both_doors(data: Path, model: Path, engine_args: dict[str, Any]) -> Iterator[dict[str, Server]]:
    """By name."""
    with serving_doors("fair_gate", data, model, engine_args) as (pid, said, log):
        yield {
            name: Server(
                pid=pid, port=said["ports"][name], headers={}, health_s=0, ready_s=0, log=log
            )
            for name in DOORS
        }


def one_round(doors: dict[str, Server], number: int) -> dict[str, Any]:
    """Each case at both doors, in turn."""
    found: dict[str, Any] = {}
    for case in CASES:
        for name in DOORS if number % 2 else DOORS[::-1]:
            with sampled_running(doors[name]) as running:
                outcome = generate(doors[name], case, seed=number)
            found[f"{name}, {case.name}"] = {
                "running": round(statistics.mean(running or [0.0]), 2),
                "tokens_per_s": round(outcome.tokens / outcome.wall_s, 1),
                "ttft_p50_s": round(percentile(outcome.ttft_s, 50), 3),
                "errors": outcome.errors[:3],
            }
    return found


@contextmanager
def sampled_running(server: Server) -> Iterator[list[float]]:
    """How many sequences the engine computes, by its own figures twice a second, but for the first
    and the last ones: then not all streams are there."""
    samples: list[float] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.5):
            said = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
            found = re.search(r"^fjord_engine_running_requests\{.*\} (\S+)$", said, re.MULTILINE)
            if found:
                samples.append(float(found[1]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        is_over.set()
        thread.join()
        del samples[:4], samples[-6:]


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds of gated to open; each round compares with itself."""
    return {
        case.name: round(
            statistics.median(
                r[f"{GATED}, {case.name}"]["tokens_per_s"]
                / r[f"{OPEN}, {case.name}"]["tokens_per_s"]
                for r in rounds
            ),
            4,
        )
        for case in CASES
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seats", type=int, default=32, help="vLLM's max_num_seqs")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"))
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine-args", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        uvloop.run(serve(given.serve, given.model, given.engine_args))
        return
    measure(given.data.resolve(), given.rounds, given.seats, given.json)


def measure(data: Path, rounds: int, seats: int, path: Path | None) -> None:
    model = make_model("tiny", data)
    found = []
    with both_doors(data, model.folder, {**model.engine_args, "max_num_seqs": seats}) as doors:
        for server in doors.values():
            generate(server, WARM_UP, seed=0)
        for number in range(1, rounds + 1):
            found.append(one_round(doors, number))
            print(json.dumps(found[-1]), flush=True)
    document = {**surroundings(), "seats": seats, "ratios": summary(found), "rounds": found}
    print(json.dumps(summary(found)))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
