"""The engine's messages past pyzmq's asynchronous sockets: all of them, in order."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
import zmq.asyncio

from engines.vllm.fastpath.messages import MOST_COPIED, MessageWriter, quicken


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


@asynccontextmanager
async def client() -> AsyncIterator[tuple[Any, zmq.Socket[bytes], zmq.Socket[bytes]]]:
    """As an AsyncMPClient has them; what its engine hears by, what it says by."""
    context, other = zmq.asyncio.Context(), zmq.Context()
    reads, writes = context.socket(zmq.PULL), context.socket(zmq.ROUTER)
    hears, says = other.socket(zmq.DEALER), other.socket(zmq.PUSH)
    hears.identity = b"engine"
    for socket in (writes, hears, says):
        socket.linger = 0
    writes.router_mandatory = True
    says.connect(f"tcp://127.0.0.1:{reads.bind_to_random_port('tcp://127.0.0.1')}")
    hears.connect(f"tcp://127.0.0.1:{writes.bind_to_random_port('tcp://127.0.0.1')}")
    hears.send(b"ready")
    await writes.recv_multipart()
    try:
        found = SimpleNamespace(input_socket=writes, resources=SimpleNamespace(output_socket=reads))
        yield found, hears, says
    finally:
        for asked in (reads, writes):
            asked.close(linger=0)
        for each in (hears, says):
            each.close(linger=0)
        context.destroy(linger=0)
        other.destroy(linger=0)


def test_messages_come_in_order_also_the_one_that_was_waited_for_before() -> None:
    async def work() -> None:
        async with client() as (found, _, says):
            socket = found.resources.output_socket
            heard: list[bytes] = []

            async def read() -> None:
                while len(heard) < 500:
                    [piece] = await socket.recv_multipart(copy=False)
                    heard.append(bytes(piece.buffer))

            reading = asyncio.create_task(read())
            await asyncio.sleep(0)  # it waits at the socket itself
            quicken(found)
            for number in range(500):
                says.send(b"%d" % number)
                if number % 50 == 0:
                    await asyncio.sleep(0.001)
            await reading
            assert heard == [b"%d" % number for number in range(500)]

    run(work())


def test_who_reads_is_ended_by_cancelling() -> None:
    async def work() -> None:
        async with client() as (found, _, says):
            quicken(found)
            socket = found.resources.output_socket
            reading = asyncio.create_task(socket.recv_multipart())
            await asyncio.sleep(0.01)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            says.send(b"later")
            assert await socket.recv_multipart() == [b"later"]

    run(work())


@pytest.mark.parametrize("size", [0, 1, MOST_COPIED - 6, MOST_COPIED, 8 * 2**20])
@pytest.mark.parametrize("copy", [True, False])
def test_a_message_of_each_size_arrives_whole(size: int, copy: bool) -> None:
    async def work() -> None:
        async with client() as (found, hears, _):
            quicken(found)
            parts = (b"engine", b"\x00", memoryview(bytes(size)))
            await found.input_socket.send_multipart(parts, copy=copy)
            assert await asyncio.to_thread(hears.recv_multipart) == [b"\x00", bytes(size)]

    run(work())


def test_nothing_overtakes_what_waits_for_room() -> None:
    async def work() -> None:
        async with client() as (found, hears, _):
            quicken(found)
            size = 100_000  # past what is copied: these go the socket's own way
            sent = [
                found.input_socket.send_multipart(
                    (b"engine", b"%d" % number, bytes(size if number % 3 else 1)), copy=False
                )
                for number in range(3000)
            ]
            waits = [each for each in sent if not each.done()]
            assert waits, "the socket has room for everything"
            heard = await asyncio.to_thread(
                lambda: [int(hears.recv_multipart()[0]) for _ in range(3000)]
            )
            await asyncio.gather(*sent)
            assert heard == list(range(3000))

    run(work())


def test_an_engine_that_is_unknown_is_an_error_as_before() -> None:
    async def work() -> None:
        async with client() as (found, _, _):
            quicken(found)
            with pytest.raises(zmq.ZMQError, match="Host unreachable"):
                await found.input_socket.send_multipart((b"nobody", b"x"), copy=False)

    run(work())


def test_a_client_without_these_sockets_is_told() -> None:
    with pytest.raises(AttributeError):
        quicken(SimpleNamespace())


def test_a_socket_that_is_closed_raises() -> None:
    async def work() -> None:
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.PUSH)
        writer = MessageWriter(socket)
        socket.close(linger=0)
        with pytest.raises(zmq.ZMQError):
            await writer.send_multipart((b"x",), copy=False)
        context.destroy(linger=0)

    run(work())
