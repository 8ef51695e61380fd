"""Machines meet in a group of torch.distributed as an engine's workers do, and add up a tensor: in
a child process, so that torch is imported there alone."""

import asyncio
import os
import threading
import time
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from engines.host.child_job import ChildJobFailed, run_child_job
from engines.probing.channel import ProbeFailed
from engines.probing.reaching import Port
from engines.probing.told import Address, Words

MOST_NODES: Final = 64
CHILD: Final = "engines.probing.handshake_child"
IMPORT_S: Final = 45.0
"""For a child to start and to import torch, on a busy machine with a cold disk."""


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """One member's part in it. `address` and `port`: where rank 0 waits for the others."""

    backend: Literal["gloo", "nccl"]
    rank: Annotated[int, Meta(ge=0, lt=MOST_NODES)]
    size: Annotated[int, Meta(ge=2, le=MOST_NODES)]
    address: Address
    port: Port
    interface: Words
    """"": what torch finds itself."""
    timeout_s: Annotated[float, Meta(gt=0, le=120)]


async def shake_hands(part: Handshake) -> float:
    """The seconds that it took, imports aside. Raises ProbeFailed."""
    is_over = threading.Event()
    try:
        return await asyncio.to_thread(_in_child, part, is_over)
    except ChildJobFailed as error:
        raise ProbeFailed(str(error)[:200]) from None
    finally:
        is_over.set()


def _in_child(part: Handshake, is_over: threading.Event) -> float:
    deadline = time.monotonic() + part.timeout_s + IMPORT_S

    def goes_on(what: str, done: int | None, total: int | None) -> None:
        if is_over.is_set() or time.monotonic() > deadline:
            raise ChildJobFailed(f"{what} took too long")

    told = msgspec.json.encode(part).decode()
    return float(run_child_job(CHILD, [told], goes_on, _environment(part)))


def _environment(part: Handshake) -> Mapping[str, str]:
    chosen = f"{part.backend.upper()}_SOCKET_IFNAME"
    own = {chosen: part.interface} if part.interface else {}
    return {**os.environ, **own, "NCCL_DEBUG": "WARN", "OMP_NUM_THREADS": "1"}
