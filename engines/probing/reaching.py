"""What ports of other machines answer from here, and how fast bytes come from them."""

import asyncio
import errno
from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from engines.probing.listeners import MOST_PORTS, NUMBER_BYTES, SEND
from engines.probing.told import Address

CONNECT_S: Final = 3.0
AT_ONCE: Final = 128
MOST_TARGETS: Final = 512
MOST_TRANSFER: Final = 32 * 2**20
TRANSFER_S: Final = 1.0
STALL_S: Final = 2.0
"""Without a byte: small messages pass then, and full ones do not."""

Outcome: TypeAlias = Literal["ok", "refused", "filtered", "no route", "another"]
"""filtered: nothing answers. another: what answers is none of the probe's."""
Port = Annotated[int, Meta(ge=1, le=65535)]
Number = Annotated[str, Meta(min_length=2 * NUMBER_BYTES, max_length=2 * NUMBER_BYTES)]


class ReachTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Ports of one address; `number` is what they are to say, in hex."""

    address: Address
    ports: Annotated[tuple[Port, ...], Meta(max_length=MOST_PORTS)]
    number: Number


class PortOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Of one target, in the order of its ports."""

    outcomes: Annotated[tuple[Outcome, ...], Meta(max_length=MOST_PORTS)]


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a bounded transfer."""

    bytes: Annotated[int, Meta(ge=0, le=2**40)]
    seconds: Annotated[float, Meta(ge=0, le=3600)]
    is_stalled: bool = False

    @property
    def mbit(self) -> float:
        """A second."""
        return self.bytes * 8 / 1e6 / self.seconds if self.seconds else 0.0


async def reach(targets: Sequence[ReachTarget], connect_s: float = CONNECT_S) -> list[PortOutcomes]:
    """All at once, within rounds of `connect_s`."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(target: ReachTarget, port: int) -> Outcome:
        async with room:
            return await _outcome(target, port, connect_s)

    tasks = [[asyncio.ensure_future(one(each, port)) for port in each.ports] for each in targets]
    try:
        return [PortOutcomes(outcomes=tuple(await asyncio.gather(*each))) for each in tasks]
    finally:
        for task in (task for each in tasks for task in each):
            task.cancel()


async def _outcome(target: ReachTarget, port: int, connect_s: float) -> Outcome:
    writer = None
    try:
        async with asyncio.timeout(connect_s):
            reader, writer = await asyncio.open_connection(target.address, port)
            number = await reader.readexactly(NUMBER_BYTES)
    except TimeoutError:
        return "filtered" if writer is None else "another"
    except asyncio.IncompleteReadError:
        return "another"
    except OSError as error:
        return _of(error)
    finally:
        if writer is not None:
            writer.transport.abort()
    return "ok" if number.hex() == target.number else "another"


def _of(error: OSError) -> Outcome:
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "refused"
    return "filtered" if error.errno == errno.ETIMEDOUT else "no route"


async def transfer(target: ReachTarget, seconds: float = TRANSFER_S) -> Transferred:
    """From its first port to here, for so long or until it is much. Raises OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_S):
        reader, writer = await asyncio.open_connection(target.address, target.ports[0])
    try:
        async with asyncio.timeout(CONNECT_S):
            await reader.readexactly(NUMBER_BYTES)
        writer.write(SEND)
        began = loop.time()
        count, is_stalled = await _taken(reader, began + seconds)
        return Transferred(bytes=count, seconds=loop.time() - began, is_stalled=is_stalled)
    except asyncio.IncompleteReadError:
        raise OSError("the other end ended it") from None
    finally:
        writer.transport.abort()


async def _taken(reader: asyncio.StreamReader, deadline: float) -> tuple[int, bool]:
    """Bytes, and whether they stopped coming."""
    loop, count = asyncio.get_running_loop(), 0
    while count < MOST_TRANSFER and loop.time() < deadline:
        try:
            piece = await asyncio.wait_for(reader.read(2**18), STALL_S)
        except TimeoutError:
            return count, True
        if not piece:
            break
        count += len(piece)
    return count, False
