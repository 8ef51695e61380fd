"""The link between a head and its nodes, without a model: joining, asking, hostile ends."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from engines.joined import node as node_module
from engines.joined import nodes as nodes_module
from engines.joined.facts import JoinedCard
from engines.joined.node import NodeLost, TaskFailed
from engines.joined.nodes import JoinedNodes, NotLetIn
from engines.joined.wire import (
    MOST_LINE,
    BadMessage,
    Hello,
    MessageLines,
    NodeLeave,
    line_of_message,
)
from server.api.joined.link import addresses_of
from server.cli.node import joining as node_side
from server.cli.node.head_link import HeadLink, HeadLinkEnded, LinkRefused
from server.refusal import CannotStart
from tests.support import joining as support
from tests.support.joining import TOKEN, facts, joined, joining, linked_head, until

pytestmark = pytest.mark.anyio


def hello(name: str = "gpu-2", **more: Any) -> Hello:
    return Hello(facts=facts(name), session="s", **{"version": 1, **more})


@pytest.fixture
def quickly_lost(monkeypatch: pytest.MonkeyPatch) -> float:
    """After so many seconds."""
    monkeypatch.setattr(node_module, "LOST_S", 0.6)
    return 0.6


async def test_a_node_joins_and_answers_what_it_is_asked() -> None:
    async with linked_head() as (nodes, url), joining(url):
        node = await joined(nodes)
        assert node.address == node.head_address == "127.0.0.1"
        answers = await asyncio.gather(
            *(nodes.ask("gpu-2", "echo", {"n": n, "text": "æ\n" * n}, 5) for n in range(12))
        )
        assert [a["n"] for a in answers] == list(range(12))
        assert answers[3]["text"] == "æ\n" * 3


async def test_what_a_node_cannot_do_is_told_in_its_own_words() -> None:
    async def refuses(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ValueError("no such thing here")

    async def breaks(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise AssertionError("/home/secret")

    async def is_long(_: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"text": "x" * MOST_LINE}

    tasks = {"refuses": refuses, "breaks": breaks, "is_long": is_long}
    async with linked_head() as (nodes, url), joining(url, tasks=tasks):
        node = await joined(nodes)
        for task, words in (
            ("refuses", "gpu-2: no such thing here"),
            ("breaks", "gpu-2: AssertionError; the node's log says more"),
            ("is_long", "more than 262144"),
            ("unheard-of", "no task here is called unheard-of"),
        ):
            with pytest.raises(TaskFailed, match=words):
                await node.ask(task, {}, 5)
        with pytest.raises(TaskFailed, match="more than 262144"):
            await node.ask("echo", {"text": "x" * MOST_LINE}, 5)
        assert await node.ask("echo", {"still": 1}, 5) == {"still": 1}


async def test_a_task_has_its_time_and_ends_when_nobody_waits() -> None:
    ended: list[str] = []

    async def sleeps(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(arguments["name"])
        return {}

    async with linked_head() as (nodes, url), joining(url, tasks={"sleeps": sleeps}):
        node = await joined(nodes)
        with pytest.raises(TaskFailed, match=r"sleeps took longer than 0\.1 s"):
            await node.ask("sleeps", {"name": "slow"}, 0.1)
        asking = asyncio.ensure_future(node.ask("sleeps", {"name": "given up"}, 30))
        await node.ask("echo", {}, 5)
        asking.cancel()
        await until(nodes, lambda: ended == ["slow", "given up"], "both tasks end")


async def test_who_has_another_token_or_none_is_refused_for_good() -> None:
    async with linked_head() as (nodes, url):
        for token in ("another" * 5, TOKEN + "0", TOKEN[:-1]):
            with pytest.raises(CannotStart, match="another node token") as refusal:
                async with asyncio.timeout(10):
                    await _node(url, token).run()
            assert token not in str(refusal.value)
        answer = await asyncio.to_thread(httpx.post, f"{url}/internal/v1/join", timeout=10)
        assert answer.status_code == 401
        assert not nodes.all


async def test_a_head_without_a_token_lets_nobody_in_and_says_how_to_make_one() -> None:
    async with linked_head(token="") as (nodes, url):
        with pytest.raises(CannotStart, match="openssl rand -hex 32"):
            await _node(url, TOKEN).run()
        assert not nodes.all


async def test_of_two_nodes_of_one_name_the_first_stays() -> None:
    said: list[str] = []
    async with linked_head() as (nodes, url), joining(url):
        first = await joined(nodes)
        async with joining(url, said=said):
            await until(nodes, lambda: bool(said), "the second one is refused")
            assert "another name with --name" in said[0]
            assert nodes.connected == [first]
            assert await first.ask("echo", {}, 5) == {}


async def test_a_name_is_kept_for_one_whose_link_is_down_for_a_moment() -> None:
    """A second node of its name asks on and on: it would end the engine of the first."""
    lost: list[str] = []
    nodes = JoinedNodes()
    first, _ = nodes.join(hello(), "10.0.0.2", "10.0.0.1")
    first.watch("part", lost.append)
    first.wanted["part"] = 1
    first.disconnected(first.outbox)
    for another, address in ((facts("gpu-2", boot="b2"), "10.0.0.2"), (facts("gpu-2"), "10.0.0.3")):
        with pytest.raises(NotLetIn, match="another name") as refusal:
            nodes.join(Hello(version=1, facts=another, session="s2"), address, "10.0.0.1")
        assert refusal.value.is_passing
    assert not lost
    again, outbox = nodes.join(hello(head=nodes.head), "10.0.0.2", "10.0.0.1")
    assert again is first
    assert b"part" in outbox.lines.get_nowait()
    first.disconnected(first.outbox)
    anew = Hello(version=1, facts=facts("gpu-2"), session="s2")
    assert nodes.join(anew, "10.0.0.2", "10.0.0.1")[0] is not first
    assert lost == ["gpu-2: it started anew"]


async def test_nodes_that_left_make_room_for_others_and_are_told_for_a_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job of Slurm has other machines each time."""
    nodes = JoinedNodes()
    for number in range(3 * nodes_module.MOST_NODES):
        node, _ = nodes.join(hello(f"n{number}"), "10.0.0.2", "10.0.0.1")
        node.heard(NodeLeave())
    assert len(nodes.all) <= nodes_module.MOST_NODES
    there, _ = nodes.join(hello("there"), "10.0.0.2", "10.0.0.1")
    monkeypatch.setattr(nodes_module, "_KEPT_S", 0.0)
    monkeypatch.setattr(nodes_module, "_LOOK_S", 0.01)
    await nodes.start()
    await until(nodes, lambda: nodes.all == [there], "those that left are forgotten")
    await nodes.stop()


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "fd00::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_addresses_are_those_that_interfaces_have(told: str, plain: str) -> None:
    scope = {"client": (told, 5), "server": (told, 8080)}
    assert addresses_of(scope) == (plain, plain)
    assert addresses_of({"client": None}) == ("", "")


async def test_a_driver_that_does_not_answer_makes_no_node_silent(
    monkeypatch: pytest.MonkeyPatch, quickly_lost: float
) -> None:
    answers = threading.Event()

    def never() -> tuple[int, ...]:
        answers.wait(20)
        return (7,)

    monkeypatch.setattr(node_side, "free_bytes", never)
    monkeypatch.setattr(node_side, "BEAT_S", 0.1)
    card = JoinedCard(name="H100", total=80 * 2**30)
    monkeypatch.setattr(support, "facts", lambda name="gpu-2": facts(name, cards=(card,)))
    async with linked_head() as (nodes, url), joining(url):
        node = await joined(nodes)
        await asyncio.sleep(2 * quickly_lost)
        assert (node.is_connected, node.free) == (True, ())
        answers.set()
        await until(nodes, lambda: node.free == (7,), "the driver's answer is told")


async def test_words_that_are_no_text_are_told_all_the_same() -> None:
    async def fails(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise OSError(b"/weights/\xff is not there".decode(errors="surrogateescape"))

    async with linked_head() as (nodes, url), joining(url, tasks={"fails": fails}):
        node = await joined(nodes)
        with pytest.raises(TaskFailed, match=r"/weights/. is not there"):
            await node.ask("fails", {}, 5)


async def test_a_node_comes_back_once_its_link_has_broken_and_says_so_once() -> None:
    said: list[str] = []
    async with linked_head() as (nodes, url), joining(url, said=said):
        for _ in range(2):
            node = await joined(nodes)
            await until(nodes, lambda: bool(said) and said[-1].startswith("Joined"), "it says so")
            node.disconnected(node.outbox)
            await until(nodes, lambda: "broke" in said[-1], "it says that too")
        assert await joined(nodes) is node
    assert [line.split(" ")[0] for line in said][:4] == ["Joined", "The"] * 2


async def test_a_node_whose_link_breaks_is_lost_only_after_a_while(quickly_lost: float) -> None:
    why: list[str] = []
    async with linked_head() as (nodes, url):
        link = await HeadLink.opened(url, TOKEN, hello())
        node = await joined(nodes)
        node.watch("part", why.append)
        asking = asyncio.ensure_future(node.ask("echo", {}, 30))
        await asyncio.sleep(0)
        link.close()
        with pytest.raises(NodeLost, match="gpu-2 is away"):
            await asking
        assert not node.is_lost
        await until(nodes, lambda: node.is_lost, "it is lost")
        assert why == [f"gpu-2: it was not heard for {quickly_lost:g} s"]
        with pytest.raises(NodeLost):
            await node.ask("echo", {}, 1)


async def test_a_node_that_is_silent_is_lost_though_its_link_is_open(quickly_lost: float) -> None:
    async with linked_head() as (nodes, url):
        link = await HeadLink.opened(url, TOKEN, hello())
        node = await joined(nodes)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(nodes, lambda: node.is_lost, "it is lost")
        assert loop.time() - began < quickly_lost + 2
        with pytest.raises(HeadLinkEnded):
            async for _ in link.lines():
                pass
        link.close()


@pytest.mark.parametrize(
    "line",
    [
        b"no json\n",
        b"[]\n",
        b'{"is":"hello"}\n',
        b'{"is":"ask","id":1,"task":"echo","arguments":{},"timeout_s":1}\n',
        b'{"is":"hello","version":1,"session":"s","facts":{"name":"../x"}}\n',
        b"[" * 100_000 + b"\n",
        b"x" * (MOST_LINE + 1),
        b"\xff\xfe\n",
        line_of_message(hello(version=2)),
    ],
    ids=["text", "list", "empty", "ask", "name", "deep", "long", "bytes", "version"],
)
async def test_what_is_no_node_is_refused_in_words(line: bytes) -> None:
    async with linked_head() as (nodes, url):
        status, body = await _posted(url, line)
        assert status == 400
        assert len(body) < 2000
        assert json.loads(body)["error"]["message"]
        assert not nodes.all


async def test_an_open_link_that_says_nonsense_or_too_much_is_cut_and_the_head_goes_on() -> None:
    async with linked_head() as (nodes, url), joining(url):
        await joined(nodes)
        for wrong in (b"nonsense\n", b"x" * (MOST_LINE + 1), line_of_message(hello("bad"))):
            reader, writer = await _connected(url)
            writer.write(_head() + _chunk(line_of_message(hello("bad"))))
            await joined(nodes, "bad")
            writer.write(_chunk(wrong))
            assert b"200 OK" in await asyncio.wait_for(_until_end(reader), 10)
            writer.close()
            await until(nodes, lambda: len(nodes.connected) == 1, "the bad one is cut")
        assert await nodes.ask("gpu-2", "echo", {"well": True}, 5) == {"well": True}


async def test_a_link_that_is_cut_anywhere_leaves_nothing() -> None:
    whole = _head() + _chunk(line_of_message(hello("cut")))
    async with linked_head() as (nodes, url):
        for end in range(0, len(whole), 37):
            _, writer = await _connected(url)
            writer.write(whole[:end])
            await writer.drain()
            writer.transport.abort()
        async with joining(url):
            node = await joined(nodes)
            assert nodes.connected == [node]


def test_a_line_has_its_bound_whatever_pieces_it_comes_in() -> None:
    lines = MessageLines()
    for _ in range(MOST_LINE - 1):
        assert lines.feed(b"x") == []
    assert lines.feed(b"\n") == [b"x" * (MOST_LINE - 1)]
    lines.feed(b"x" * (MOST_LINE - 1))
    with pytest.raises(BadMessage):
        lines.feed(b"x\n")


def test_lines_are_whole_whatever_pieces_they_come_in() -> None:
    for size in (1, 2, 7, 100):
        lines, text, found = MessageLines(), b"one\n\ntwo\nthree", []
        for start in range(0, len(text), size):
            found += lines.feed(text[start : start + size])
        assert found == [b"one", b"two"]


async def test_a_node_refused_later_than_at_first_tries_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may change the head's token, and give the node's service time."""
    said: list[str] = []
    async with linked_head() as (nodes, url), joining(url, said=said):
        await joined(nodes)

        async def refused(*_: Any) -> HeadLink:
            raise LinkRefused("No.", is_final=True)

        monkeypatch.setattr(HeadLink, "opened", refused)
        await until(nodes, lambda: bool(said), "it says that it has joined")
        for each in nodes.connected:
            each.disconnected(each.outbox)
        await until(nodes, lambda: len(said) == 3, "it says that it is refused")
        assert said[2].endswith("refuses: No. Trying on.")
        monkeypatch.undo()
        await joined(nodes)


async def test_a_head_that_ends_each_link_at_once_is_not_stormed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_side, "_FIRST_S", 0.02)
    monkeypatch.setattr(node_side, "_LONGEST_S", 0.3)
    came: list[float] = []
    async with linked_head() as (nodes, url), joining(url):
        while len(came) < 8:
            node = await joined(nodes)
            came.append(asyncio.get_running_loop().time())
            node.disconnected(node.outbox)
        assert came[-1] - came[-2] > 0.2


def _node(url: str, token: str) -> node_side.Joining:
    from engines.joined.parts import NoParts

    return node_side.Joining(url, token, facts(), NoParts(), {}, lambda words: None)


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))


def _head() -> bytes:
    lines = ["POST /internal/v1/join HTTP/1.1", "Host: h", f"Authorization: Bearer {TOKEN}"]
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()


def _chunk(line: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(line), line)


async def _posted(url: str, line: bytes) -> tuple[int, bytes]:
    """Its answer to a body that goes on."""
    reader, writer = await _connected(url)
    writer.write(_head() + _chunk(line))
    answer = await asyncio.wait_for(_until_end(reader), 15)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def _until_end(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(65536):
            found += piece
    return bytes(found)
