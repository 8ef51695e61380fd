"""`python -m tests.support.probed_node WHERE NAME WHAT`: a node of `fjord doctor --cluster` that is
not as it should be. WHERE: the HOST:PORT of one that listens, or the URL of a server, to join it.
WHAT in JSON: `versions`, `clock_s` (ahead), `not_there` (ports)."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engines.joined.facts import these_facts
from engines.joined.parts import NoParts
from engines.probing.door import answer_all, arrived
from engines.probing.listeners import ProbeListeners
from engines.probing.prober import Prober
from engines.probing.told import NodeTold, told_here
from server import __version__
from server.cli.node.joining import Joining
from server.cli.node.tasks import node_tasks

TOKEN = "a-secret-of-this-test-alone"


class Absent(ProbeListeners):
    """Says that it listens, and does not."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__()
        self._absent = set(ports)

    async def listen(self, port: int) -> str:
        return "" if port in self._absent else await super().listen(port)


def broken(name: str, what: dict[str, Any]) -> Prober:
    def tell() -> NodeTold:
        told = told_here(name, __version__)
        return msgspec.structs.replace(told, versions=told.versions | what.get("versions", {}))

    return Prober(
        tell,
        Path("data"),
        clock=lambda: time.time() + what.get("clock_s", 0),
        listeners=Absent(what.get("not_there", ())),
    )


async def come(where: str, name: str, what: dict[str, Any]) -> int:
    host, port = where.split(":")
    link = await arrived(host, int(port), TOKEN, 60)
    return (await answer_all(link, name, broken(name, what).tasks()))[0]


async def join(url: str, name: str, what: dict[str, Any]) -> int:
    """Until it is killed."""
    tasks = node_tasks(None, broken(name, what))
    facts = these_facts(name, __version__)
    await Joining(url, TOKEN, facts, NoParts(), tasks, lambda words: None).run()
    return 0


if __name__ == "__main__":
    way = join if sys.argv[1].startswith("http") else come
    print(asyncio.run(way(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))  # noqa: T201
