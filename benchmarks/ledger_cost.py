"""What keys, limits and the ledger cost: one process and one engine behind two doors, in turn.

python -m benchmarks.ledger_cost [--rounds 5] [--json benchmarks/results/ledger_cost.json]

The billed door is Fjord as shipped, its ledger on disk. The free door is the same application
without keys, with limits that count nothing and a ledger that keeps nothing. Both hand their
requests to the same engine, so nothing else differs between them.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP, Case
from benchmarks.doors import door, serving_doors
from benchmarks.figures import percentile
from benchmarks.machine import surroundings
from benchmarks.models import make_model
from benchmarks.servers import ALIAS, Server
from engines.build import EngineBuilder
from engines.fleet.fleet import Fleet
from engines.host.garbage import freeze_garbage
from server.accounts.auth import KeyRing
from server.accounts.limits import Admission, Limiter
from server.app import FjordApp, create_app
from server.cli.registry_choice import open_registry
from server.ledger import sqlite
from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.ledger import Ledger
from server.ledger.records import Caller, UsageRecord
from server.settings import Settings

BILLED, FREE = "billed", "free"
DOORS = [BILLED, FREE]
STREAMS = Case(streams=64, requests=256, output_tokens=128)
ONE_TOKEN = Case(streams=1, requests=50, output_tokens=1, stream=False)
TURNS = 4
"""Short runs of each case in turn, A B B A, for a machine whose speed drifts."""


class NoLimits(Limiter):
    """Counts nothing."""

    def admit(self, caller: Caller, slots: int = 1) -> Admission:
        return Admission(caller, (), [])

    def release(self, admission: Admission, *, tokens: int = 0) -> None:
        pass


class NoLedger(Ledger):
    """Keeps nothing, waits for nothing; never started."""

    async def begin(
        self, record: UsageRecord, *, reserve_micro: int = 0, reserve_tokens: int = 0
    ) -> None:
        pass

    async def opened(self, record: UsageRecord) -> None:
        pass

    def progress(self, record: UsageRecord) -> None:
        pass

    def close_record(
        self, record: UsageRecord, *, is_delivered: bool = True
    ) -> "asyncio.Future[None]":
        closed = asyncio.get_running_loop().create_future()
        closed.set_result(None)
        return closed


async def serve(folder: Path, model: Path, engine_args: dict[str, Any]) -> None:
    """Both doors, until stdin ends; says their ports and the key once the engine is ready."""
    settings = Settings(
        data_dir=folder / BILLED,
        model=(f"{ALIAS}={model}",),
        engine="vllm",
        engine_arg=tuple(f"{name}={json.dumps(value)}" for name, value in engine_args.items()),
        requests_per_minute=10**7,
        concurrent=10**5,
    )
    registry = open_registry(settings)
    building = EngineBuilder(folder, lambda *_: None)
    fleet = Fleet(registry.models.values(), building, on_ready=freeze_garbage)
    ledger = Ledger.open(folder / BILLED, node="bench", currency=registry.currency)
    key = new_key(folder / BILLED)
    billed = create_app(settings, registry, fleet, ledger, KeyRing(), node="bench")
    free = create_app(
        settings.model_copy(update={"no_auth": True}),
        registry,
        fleet,
        NoLedger.open(folder / FREE, node="bench", currency=registry.currency),
        KeyRing(),
        node="bench",
    )
    services = cast(FjordApp, free.app).services
    services.limiter = NoLimits()
    async with AsyncExitStack() as stack:
        ports = {
            BILLED: await stack.enter_async_context(door(billed, "on")),
            FREE: await stack.enter_async_context(door(free, "off")),
        }
        await services.supervisor.start()
        stack.push_async_callback(services.supervisor.stop)
        async with fleet.lease(ALIAS):
            pass
        print(json.dumps({"ports": ports, "key": key}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def new_key(data_dir: Path) -> str:
    database = SqliteDatabase(sqlite.prepared_ledger(data_dir))
    try:
        return KeyStore(database).create(Key(key_id="", name="bench", owner="bench"))[1]
    finally:
        database.close()


@contextmanager
def both_doors(data: Path, model: Path, engine_args: dict[str, Any]) -> Iterator[dict[str, Server]]:
    """By name."""
    with serving_doors("ledger_cost", data, model, engine_args) as (pid, said, log):
        yield {name: a_server(pid, said, name, log) for name in DOORS}


def a_server(pid: int, said: dict[str, Any], name: str, log: Path) -> Server:
    headers = {"X-API-Key": said["key"]} if name == BILLED else {}
    port = said["ports"][name]
    return Server(pid=pid, port=port, headers=headers, health_s=0.0, ready_s=0.0, log=log)


def one_round(doors: dict[str, Server], number: int) -> dict[str, Any]:
    """Each case at both doors in turn."""
    tokens: dict[str, int] = dict.fromkeys(DOORS, 0)
    wall_s: dict[str, float] = dict.fromkeys(DOORS, 0.0)
    one_token_s: dict[str, list[float]] = {name: [] for name in DOORS}
    errors: dict[str, list[str]] = {name: [] for name in DOORS}
    for turn in range(TURNS):
        order = DOORS if (number + turn) % 2 else DOORS[::-1]
        for name in order:
            outcome = generate(doors[name], STREAMS, seed=number * TURNS + turn)
            tokens[name] += outcome.tokens
            wall_s[name] += outcome.wall_s
            errors[name] += outcome.errors[:3]
        for name in order:
            outcome = generate(doors[name], ONE_TOKEN, seed=number * TURNS + turn)
            one_token_s[name] += outcome.total_s
            errors[name] += outcome.errors[:3]
    found: dict[str, Any] = {}
    for name in DOORS:
        found[f"{name}_tokens_per_s"] = round(tokens[name] / wall_s[name], 1)
        found[f"{name}_one_token_p50_ms"] = round(1000 * percentile(one_token_s[name], 50), 3)
        found[f"{name}_errors"] = errors[name]
    return found


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds; each round compares with itself."""
    ratios = [r[f"{BILLED}_tokens_per_s"] / r[f"{FREE}_tokens_per_s"] for r in rounds]
    added = [r[f"{BILLED}_one_token_p50_ms"] - r[f"{FREE}_one_token_p50_ms"] for r in rounds]
    return {
        "tokens_per_s_ratio": round(statistics.median(ratios), 4),
        "one_token_p50_added_ms": round(statistics.median(added), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"))
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine-args", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        uvloop.run(serve(given.serve, given.model, given.engine_args))
        return
    measure(given.data.resolve(), given.rounds, given.json)


def measure(data: Path, rounds: int, path: Path | None) -> None:
    model = make_model("tiny", data)
    found = []
    with both_doors(data, model.folder, dict(model.engine_args)) as doors:
        for server in doors.values():
            generate(server, WARM_UP, seed=0)
        for number in range(1, rounds + 1):
            found.append(one_round(doors, number))
            print(json.dumps(found[-1]), flush=True)
    document = {**surroundings(), **summary(found), "rounds": found}
    print(json.dumps(summary(found)))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
