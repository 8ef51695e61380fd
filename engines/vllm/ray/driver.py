"""Runs as a process of its own: one Ray job, asked and told over a pipe.

Ray ends a process whose cluster is gone, and a job's actors and placement groups end with its
process: so neither may be the front's. When the pipe closes this process is gone at once.

    python -m engines.vllm.ray.driver FD
"""

import contextlib
import os
import socket
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NoReturn

from engines.host.woken import woken_with_parents_end
from engines.vllm.ray.failure import NodeFailure, words
from engines.vllm.ray.job import EngineJob
from engines.vllm.ray.observing import observe
from engines.vllm.ray.wire import Failed, Joined, RayAsk

_CONNECT_S = 3.0
LEAVE_S = 3.0


def main() -> None:
    woken_with_parents_end()
    pipe = Connection(int(sys.argv[1]))
    asks: SimpleQueue[RayAsk] = SimpleQueue()
    threading.Thread(target=_hear, args=(pipe, asks), daemon=True).start()
    try:
        _do(pipe, asks.get())
    except NodeFailure as error:
        pipe.send(Failed(str(error)))
    except BaseException as error:
        pipe.send(Failed(words(error)))
    _end(0)


def _hear(pipe: "Connection[Any, Any]", asks: "SimpleQueue[RayAsk]") -> NoReturn:
    try:
        while (ask := pipe.recv()) is not None:
            asks.put(ask)
    except (EOFError, OSError):
        pass
    _end(0)


def _end(status: int) -> NoReturn:
    """Whatever a library does at its end could hang: Ray sees the socket close. Through its client
    port it would wait for half a minute for this process to come again, so that it is told."""
    if "ray.util.client" in sys.modules:
        leaving = threading.Thread(target=_disconnect, daemon=True)
        leaving.start()
        leaving.join(LEAVE_S)
    os._exit(status)


def _disconnect() -> None:
    import ray

    with contextlib.suppress(Exception):
        ray.util.disconnect()


def _reach(address: str) -> str:
    """This machine's address on the way there. Ray would look for it for half a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S) as way:
            return str(way.getsockname()[0])
    except (OSError, ValueError) as error:
        raise NodeFailure(f"nothing answers at {address}: {error}") from error


def _do(pipe: "Connection[Any, Any]", ask: RayAsk) -> None:
    way = None if ask.address is None else _reach(ask.address)
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address=ask.address or "auto",
        namespace=f"fjord-{os.getpid()}",
        log_to_driver=False,
        logging_level="ERROR",
    )
    import engines.vllm.ray.remote as remote

    ray.cloudpickle.register_pickle_by_value(remote)
    own = None if ask.is_client else ray.get_runtime_context().get_node_id()
    known = way if way and ask.is_client else str(ray.util.get_node_ip_address())
    address = os.environ.get("VLLM_HOST_IP") or known
    pipe.send(Joined(own_node=own, address=address))
    if ask.engine is None:
        observe(pipe, own)
    else:
        EngineJob(pipe, ask.engine).run()


if __name__ == "__main__":
    main()
