"""What it costs to ask another server of the site: one node with a tiny model on vLLM, asked at its
own door and through a front without an engine, in turn.

python -m benchmarks.forward [--rounds 3] [--model tiny] [--json benchmarks/results/forward.json]

The front's processor time a token is set beside the node's own door's; a lone request's added time
to its first token is the median of many.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from benchmarks.bench import generate
from benchmarks.cases import WARM_UP, Case
from benchmarks.figures import percentile
from benchmarks.front import front_cost
from benchmarks.machine import surroundings
from benchmarks.models import Model, make_model
from benchmarks.servers import ALIAS, Server
from server.ledger import postgres
from server.ledger.database import PostgresDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.ledger.records import KeyLimits
from tests.support.peers import free_port
from tests.support.serve_process import Server as Process
from tests.support.serve_process import serving
from tests.support.serving import wait_until
from tests.support.sites import new_site, postgres_server

CASES = [
    Case(streams=1, requests=40, output_tokens=32),
    Case(streams=64, requests=256, output_tokens=128),
    Case(streams=64, requests=256, output_tokens=128, stream=False),
    Case(streams=256, requests=512, output_tokens=128),
    Case(streams=65, requests=130, output_tokens=768),
]
"""The last: long answers, of which a request's own cost is a small part."""
DOORS = ("node", "front")
NODE = "gpu-1"


@contextmanager
def site(model: Model, folder: Path) -> Iterator[dict[str, Server]]:
    """The doors by their names."""
    with postgres_server() as database, ExitStack() as stack:
        url = new_site(database)
        doors = {name: _started(stack, folder, name, url, model) for name in DOORS}
        for _, process in doors.values():
            process.until("Ready", within_s=400)
        headers = {"X-API-Key": _key(url)}
        for port, _ in doors.values():
            wait_until(partial(_takes, port, headers), "the key is taken")
        yield {
            name: Server(
                pid=process.process.pid,
                port=port,
                headers=headers,
                health_s=0.0,
                ready_s=0.0,
                log=folder / f"{name}.log",
            )
            for name, (port, process) in doors.items()
        }


def _started(
    stack: ExitStack, folder: Path, name: str, url: str, model: Model
) -> tuple[int, Process]:
    home, port = folder / name, free_port()
    home.mkdir(parents=True)
    entry = {
        "source": str(model.folder),
        "engine": "vllm",
        "args": dict(model.engine_args),
        "context": 2048,
        "output": 1024,
        "preload": True,
        "nodes": [NODE],
    }
    (home / "model_registry.yaml").write_text(json.dumps({"models": {ALIAS: entry}}))
    process = stack.enter_context(
        serving(
            home,
            *("--port", str(port), "--advertise", f"http://127.0.0.1:{port}"),
            has_port=False,
            FJORD_NODE=NODE if name == "node" else name,
            FJORD_LEDGER_URL=url,
            FJORD_REQUESTS_PER_MINUTE="10000000",
            FJORD_CONCURRENT="10000",
            FJORD_PROFILE="",
        )
    )
    return port, process


def _key(url: str) -> str:
    database = PostgresDatabase(postgres.connect(url))
    try:
        limits = KeyLimits(requests_per_minute=10_000_000, concurrent=10_000)
        return KeyStore(database).create(Key(key_id="", name="b", owner="b", limits=limits))[1]
    finally:
        database.close()


def _takes(port: int, headers: dict[str, str]) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/v1/models", headers=headers).status_code == 200


def measured(server: Server, servers: dict[str, Server], case: Case, seed: int) -> dict[str, Any]:
    """One case at one door; processor time of each server's front."""
    before = {name: front_cost(each.pid).cpu_s for name, each in servers.items()}
    outcome = generate(server, case, seed=seed)
    cpu = {name: front_cost(each.pid).cpu_s - before[name] for name, each in servers.items()}
    return {
        "tokens_per_s": round(outcome.tokens / outcome.wall_s, 1),
        "ttft_p50_ms": round(1e3 * percentile(outcome.ttft_s, 50), 3),
        "ttft_p99_ms": round(1e3 * percentile(outcome.ttft_s, 99), 3),
        "cpu_us_a_token": {name: round(1e6 * s / outcome.tokens, 2) for name, s in cpu.items()},
        "chunks": outcome.chunks,
        "tokens": outcome.tokens,
        "errors": outcome.errors[:3],
    }


def one_round(servers: dict[str, Server], number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case in CASES:
        for door in DOORS if number % 2 else DOORS[::-1]:
            found[f"{case.name}, {door}"] = measured(servers[door], servers, case, seed=number)
    return found


def medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """By case: the front's door beside the node's own. Of both servers together the other one's
    time counts at each door, also where it has nothing to do."""
    out = {}
    for case in CASES:
        node, front = ([each[f"{case.name}, {door}"] for each in rounds] for door in DOORS)
        own = statistics.median(each["cpu_us_a_token"]["node"] for each in node)
        asked = statistics.median(each["cpu_us_a_token"]["front"] for each in front)
        behind = statistics.median(each["cpu_us_a_token"]["node"] for each in front)
        both = [
            statistics.median(sum(each["cpu_us_a_token"].values()) for each in rounds)
            for rounds in (node, front)
        ]
        added = [f["ttft_p50_ms"] - n["ttft_p50_ms"] for f, n in zip(front, node, strict=True)]
        out[case.name] = {
            "cpu_us_a_token_own_door": own,
            "cpu_us_a_token_front": asked,
            "cpu_us_a_token_node_behind": behind,
            "front_of_own_door": round(asked / own, 3),
            "both_of_own_door": round(both[1] / both[0], 3),
            "added_ttft_p50_ms": round(statistics.median(added), 3),
            "tokens_per_s": round(_of(front, "tokens_per_s") / _of(node, "tokens_per_s"), 3),
        }
    return out


def _of(rounds: list[dict[str, Any]], name: str) -> float:
    found: float = statistics.median(each[name] for each in rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    about = surroundings()
    with tempfile.TemporaryDirectory(prefix="fjord-forward-") as name:
        folder = Path(name)
        model = make_model(given.model, folder / "model")
        with site(model, folder) as servers:
            for server in servers.values():
                generate(server, WARM_UP, seed=0)
            rounds = []
            for number in range(1, given.rounds + 1):
                rounds.append(one_round(servers, number))
                sys.stdout.write(json.dumps(rounds[-1]) + "\n")
    result = {**about, "medians": medians(rounds), "rounds": rounds}
    sys.stdout.write(json.dumps(result["medians"], indent=2) + "\n")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
