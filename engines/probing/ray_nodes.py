"""The machines of a Ray cluster that this one is of, each asked by an actor that is there for the
probes alone. The only file that imports ray, and that when it is asked."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from engines.probing.channel import ProbedNode, ProbeFailed

START_S: Final = 60.0
"""Until an actor answers first: Ray starts a process there, and carries this package to it."""
CONNECT_S: Final = 5.0
_CURRENT: Final = Path("/tmp/ray/ray_current_cluster")
"""Where Ray notes the head of the cluster that a machine is of."""
_ENGINES: Final = str(Path(__file__).resolve().parents[1])


class RayChannel:
    """To one actor."""

    def __init__(self, actor: Any) -> None:
        self._actor, self._is_up = actor, False

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """Its first answer may take START_S. Raises ProbeFailed."""
        import ray.exceptions

        bound_s = timeout_s + 2.0 if self._is_up else START_S
        try:
            async with asyncio.timeout(bound_s):
                answer = await self._actor.ask.remote(task, dict(arguments), timeout_s)
        except TimeoutError:
            raise ProbeFailed(f"no answer within {bound_s:g} s") from None
        except ray.exceptions.RayError as error:
            raise ProbeFailed(f"Ray: {_first_line(error)}") from None
        self._is_up = True
        if "result" not in answer:
            raise ProbeFailed(str(answer.get("failed", "it sent what is no answer"))[:200])
        result: Mapping[str, Any] = answer["result"]
        return result


@contextlib.contextmanager
def ray_nodes(fjord: str, data_dir: Path, names: tuple[str, ...]) -> Iterator["RayMachines"]:
    """Raises ProbeFailed where there is no cluster to join."""
    try:
        import ray
    except ImportError:
        raise ProbeFailed("ray is not installed") from None
    _reach_head()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address="auto",
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"py_modules": [_ENGINES]},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ProbeFailed(f"no Ray cluster: {_first_line(error)}") from None
    try:
        yield _machines(ray, fjord, data_dir, set(names))
    finally:
        ray.shutdown()


def _reach_head() -> None:
    """Ray itself tries for minutes. Raises ProbeFailed."""
    try:
        address = os.environ.get("RAY_ADDRESS", "") or _CURRENT.read_text("ascii").strip()
    except (OSError, ValueError):
        raise ProbeFailed("no Ray runs on this machine, and RAY_ADDRESS is not set") from None
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and len(port) < 6) or "/" in host:
        raise ProbeFailed("RAY_ADDRESS is no HOST:PORT of a cluster's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError):
        raise ProbeFailed(f"no Ray cluster answers at {address[:80]}") from None


class RayMachines:
    """This machine's address in the cluster, and all others."""

    def __init__(self, address: str, others: list[ProbedNode]) -> None:
        self.address, self.others = address, others


def _machines(ray: Any, fjord: str, data_dir: Path, names: set[str]) -> RayMachines:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from engines.probing.ray_prober import RayProber

    own_id, own, others = ray.get_runtime_context().get_node_id(), "", []
    for each in (node for node in ray.nodes() if node["Alive"]):
        address = str(each["NodeManagerAddress"])
        if each["NodeID"] == own_id:
            own = address
            continue
        name = str(each.get("NodeManagerHostname") or address)[:64]
        name = f"{name}@{address}" if name in names else name
        names.add(name)
        there = NodeAffinitySchedulingStrategy(each["NodeID"], soft=False)
        kind = ray.remote(RayProber).options(
            num_cpus=0, max_concurrency=8, scheduling_strategy=there
        )
        actor = kind.remote(name, fjord, str(data_dir.absolute()))
        others.append(ProbedNode(name, RayChannel(actor), address))
    return RayMachines(own, others)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
