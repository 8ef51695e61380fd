"""A site of 2, 4 and 8 nodes on this machine: prefix hits, balance, what a forward costs, how far
limits and budgets are overspent, what the database has to do.

    PYTHONHASHSEED=0 python -m benchmarks.site [--nodes 2 4 8] [--only routing] [--json FILE]

Hits and balance are counted in virtual time (site_routing); the rest is measured of processes: a
front, scripted nodes and one PostgreSQL (site_processes). All run on this machine's cores, so that
processor times are of use elsewhere, and waits are not.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import surroundings
from benchmarks.site_processes import (
    MeasuredSite,
    budgets,
    database_load,
    forwarding,
    limits,
    measured_site,
    mixed,
)
from benchmarks.site_routing import all_policies
from tests.support.sites import new_site, postgres_server

RESULTS = Path(__file__).parent / "results"
KEYS, ACTIVE_KEYS = 10_000, 200
QUIET_S = BUSY_S = 15.0
LIMITS = (4, 60, 300)
BUDGETS = ((2_000, 100), (20_000, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--requests", type=int, default=2000, help="A node, of the routing.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--only", choices=("routing", "processes"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = surroundings()
    if options.only != "processes":
        print("routing", flush=True)
        found["routing"] = all_policies(options.nodes, options.requests, 1, print)
    if options.only != "routing":
        found["processes"] = [of_processes(n, options) for n in options.nodes]
    day = datetime.now(UTC).date().isoformat()
    at = options.json or RESULTS / f"site-{day}.json"
    at.write_text(json.dumps(found, indent=1) + "\n")
    print(at)


def of_processes(nodes: int, options: argparse.Namespace) -> dict[str, Any]:
    """A fresh database, a front and so many nodes."""
    print(f"{nodes} nodes", flush=True)
    with postgres_server() as server, tempfile.TemporaryDirectory() as folder:
        database = psutil.Process(server.get_pid())
        with measured_site(Path(folder), new_site(server), nodes, database) as site:
            found: dict[str, Any] = {"nodes": nodes, "servers": nodes + 1}
            for name, figures in _measured(site, nodes, options):
                print(f"  {name}: {figures}", flush=True)
                found[name] = figures
    return found


def _measured(
    site: MeasuredSite, nodes: int, options: argparse.Namespace
) -> Iterator[tuple[str, Any]]:
    yield "forwarding", forwarding(site, options.rounds)
    yield "mix", mixed(site, 60 * nodes, nodes)
    yield "limits", [limits(site, limit) for limit in LIMITS]
    yield "budgets", [budgets(site, amount, tokens) for amount, tokens in BUDGETS]
    yield "database_quiet", database_load(site, QUIET_S, False, ())
    keys = site.make_keys(options.keys)[:ACTIVE_KEYS]
    yield "database_quiet_of_many_keys", database_load(site, QUIET_S, False, ())
    yield "database_busy", database_load(site, BUSY_S, True, keys)


if __name__ == "__main__":
    main()
