"""A link lets in who has the secret, and nothing that a stranger or a hostile peer sends makes it
wait or grow."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from engines.probing import door as doors
from engines.probing import link as links
from engines.probing.channel import ProbeFailed
from engines.probing.door import ProbeDoor, answer_all, arrived
from engines.probing.link import MOST_BYTES, LinkChannel, ProbeLink
from tests.support.nodes import until

pytestmark = pytest.mark.anyio
SECRET = "a-secret-of-this-test-alone"


async def echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return arguments


async def with_door(
    use: Callable[[ProbeDoor, int, list[str]], Awaitable[None]], wanted: int = 1
) -> list[str]:
    """What the head's operator is told."""
    told: list[str] = []
    door = ProbeDoor(SECRET, wanted, told.append, names=("head",))
    async with door.open("127.0.0.1", 0) as port:
        await use(door, port, told)
    return told


async def node(port: int, name: str = "n", secret: str = SECRET) -> tuple[int, int]:
    link = await arrived("127.0.0.1", port, secret, 5)
    return await answer_all(link, name, {"echo": echo})


async def test_a_node_answers_until_it_is_over_and_is_told_of_its_own() -> None:
    async def use(door: ProbeDoor, port: int, _: list[str]) -> None:
        running = asyncio.create_task(node(port))
        assert await door.all_here(5)
        channel = door.nodes[0].channel
        assert await channel.ask("echo", {"a": [1, None]}, 5) == {"a": [1, None]}
        with pytest.raises(ProbeFailed, match="does not know this probe"):
            await channel.ask("other", {}, 5)
        assert await channel.ask("echo", {"b": 2}, 5) == {"b": 2}
        await door.over({"n": 2, "head": 1})
        assert await running == (2, 3)

    assert await with_door(use) == ["n is here, from 127.0.0.1"]


async def test_two_of_one_name_and_one_of_the_heads_are_told_apart() -> None:
    async def use(door: ProbeDoor, port: int, _: list[str]) -> None:
        running = [asyncio.create_task(node(port, name)) for name in ("head", "n", "n\x1b[2J", "n")]
        assert await door.all_here(5)
        assert sorted(each.name for each in door.nodes) == [
            "head@127.0.0.1",
            "n",
            "n?[2J",
            "n@127.0.0.1",
        ]
        await door.over({})
        await asyncio.gather(*running)

    await with_door(use, 4)


async def test_another_secret_is_sent_away_and_said_on_both_sides() -> None:
    async def use(door: ProbeDoor, port: int, _: list[str]) -> None:
        with pytest.raises(ProbeFailed, match="has it the same node token"):
            await node(port, secret="another-secret-altogether")
        assert not door.nodes

    assert await with_door(use) == ["127.0.0.1 was sent away: it has another node token"]


async def test_a_head_without_the_secret_learns_nothing_that_opens_it() -> None:
    """It sends a node's own words back: the proofs of the two sides differ."""

    async def mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(1000):
                seen.append(piece)
                writer.write(piece)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        is_over.set()

    seen: list[bytes] = []
    is_over = asyncio.Event()
    async with await asyncio.start_server(mirror, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProbeFailed, match="another node token"):
            await node(port)
        await asyncio.wait_for(is_over.wait(), 10)
    assert SECRET.encode() not in b"".join(seen)


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 10_000, b"fjord-probe-1\n"]
)
async def test_a_stranger_that_says_something_else_or_nothing_is_gone_soon(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "HELLO_S", 0.2)

    async def use(door: ProbeDoor, port: int, told: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        with suppress(OSError):
            async with asyncio.timeout(5):
                while await reader.read(1000):
                    pass
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        assert not door.nodes
        assert len(told) == 1

    await with_door(use)


async def test_no_more_strangers_at_once_than_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "MOST_WAITING", 3)

    async def use(door: ProbeDoor, port: int, told: list[str]) -> None:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for reader, _writer in waiting:
            await reader.readexactly(46)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read(100) == b""
        for each in (writer, *(writer for _, writer in waiting)):
            each.close()
        await until(lambda: len(told) == 3)

    await with_door(use)


async def hostile(port: int, answer: Callable[[ProbeLink], Awaitable[None]]) -> None:
    """Has the secret, and answers its first question in its own way."""
    link = await arrived("127.0.0.1", port, SECRET, 5)
    await link.send({"name": "n"})
    await link.receive()
    await answer(link)
    with suppress(ProbeFailed):
        await link.receive()
    link.abort()


async def too_long(link: ProbeLink) -> None:
    link._writer.write((MOST_BYTES + 1).to_bytes(4, "big") + b"\0" * 32)


async def forged(link: ProbeLink) -> None:
    link._writer.write((2).to_bytes(4, "big") + secrets.token_bytes(32) + b"{}")


async def deep(link: ProbeLink) -> None:
    payload = b"[" * 100_000
    proof = link._proof(link._own, link._sent, payload)
    link._writer.write(len(payload).to_bytes(4, "big") + proof + payload)


async def silent(link: ProbeLink) -> None:
    pass


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (too_long, "more than 262144 bytes"),
        (forged, "somebody changed what it said"),
        (deep, "what is no message"),
        (silent, "no answer within 0.1 s"),
    ],
)
async def test_a_hostile_node_ends_its_own_link_and_nothing_else(
    answer: Callable[[ProbeLink], Awaitable[None]], words: str
) -> None:
    async def use(door: ProbeDoor, port: int, _: list[str]) -> None:
        running = asyncio.create_task(hostile(port, answer))
        assert await door.all_here(5)
        channel = door.nodes[0].channel
        assert isinstance(channel, LinkChannel)
        began = time.monotonic()
        for _time in range(2):  # the second is refused at once
            with pytest.raises(ProbeFailed, match=words):
                await channel.ask("echo", {}, 0.1)
        assert time.monotonic() - began < 10
        await running

    await with_door(use)


async def test_a_head_that_asks_nothing_is_left_and_its_strange_words_are_refused() -> None:
    async def use(door: ProbeDoor, port: int, _: list[str]) -> None:
        link = await arrived("127.0.0.1", port, SECRET, 5)
        running = asyncio.create_task(answer_all(link, "n", {"echo": echo}, silent_s=0.3))
        assert await door.all_here(5)
        [head] = door._links.values()
        for strange in ({}, {"task": "echo", "arguments": {}, "timeout_s": "x"}, {"task": 1}):
            await head.send(strange)
            assert await head.receive() == {"failed": "that is no question"}
        with pytest.raises(ProbeFailed, match="asks nothing"):
            await running

    await with_door(use)


async def test_who_left_while_others_are_waited_for_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doors, "BEAT_S", 0.05)

    async def use(door: ProbeDoor, port: int, told: list[str]) -> None:
        here = asyncio.create_task(door.all_here(20))
        first = asyncio.create_task(node(port))
        await until(lambda: bool(door.nodes))
        first.cancel()
        await until(lambda: not door.nodes)
        both = [asyncio.create_task(node(port)), asyncio.create_task(node(port, "m"))]
        assert await here
        assert {each.name for each in door.nodes} == {"n", "m"}
        assert "n has left" in told
        await door.over({})
        await asyncio.gather(*both)

    await with_door(use, 2)


async def test_a_head_that_is_not_there_is_waited_for_so_long() -> None:
    with pytest.raises(ProbeFailed, match="cannot be reached within 0 s"):
        await arrived("127.0.0.1", 1, SECRET, 0)
