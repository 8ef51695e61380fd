"""A node that answers what makes no sense: no other request is hurt by it, and nothing waits."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.base import Delta, EngineDead, EngineUnavailable, GenerateRequest, Sampling
from server.peers import connection
from server.peers.client import PeerClient
from server.peers.engine import PeerEngine
from server.peers.wire import (
    ABORT,
    END,
    ERROR,
    FULL,
    GENERATE,
    LET_GO,
    OPENED,
    PATH,
    PLAIN,
    RENDER,
    REPLY,
    FrameReader,
    GenerateCall,
    Pulse,
    RenderedPrompt,
    decoder,
    delta_frame,
    encode,
    frame,
    packed_ids,
)
from tests.support.certificates import made
from tests.support.peers import free_port

GENERATES = decoder(GenerateCall)
Answers = Callable[[int], list[bytes]]


class OddNode:
    """Renders as a node does; what it says of a generation, `answers` has by the request's handle.
    `heard`: kinds and payloads of all that it was told."""

    def __init__(self, answers: dict[str, Answers]) -> None:
        self.answers = answers
        self.heard: list[tuple[int, int, bytes]] = []
        self.channels = 0
        self.address_ = ""
        self.asked: list[str] = []
        self.rendered: tuple[int, bytes] | None = None
        """What is answered to a prompt, if not as it should be: a frame's kind, its payload."""
        self.lives = 0
        """So many pulses are answered."""
        self.writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Event()

    async def until(self, kind: int, payload: bytes = b"") -> None:
        """It has heard that."""
        async with asyncio.timeout(10):
            while not any(each[0] == kind and each[2] == payload for each in self.heard):
                self._news.clear()
                await self._news.wait()

    async def address(self, node: str) -> str:
        """As a Directory."""
        return self.address_

    async def password(self) -> str:
        return "secret"

    def forget_password(self) -> None:
        pass

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await self.serve_one(head.split()[1].decode().removeprefix(PATH), reader, writer)

    async def serve_one(
        self, what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if what != "channel":
            self.writers.append(writer)
            self.asked.append(what)
            if what == "pulse" and self.lives:
                pulse = encode(Pulse("p", False, []))
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
                writer.write(b"content-length: %d\r\n\r\n" % len(pulse) + pulse)
                self.lives -= 1
            return
        self.channels += 1
        self.writers.append(writer)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        self.say(writer, frame(OPENED, 0))
        frames = FrameReader()
        try:
            while True:
                length = int(await reader.readuntil(b"\r\n"), 16)
                data = (await reader.readexactly(length + 2))[:-2]
                for kind, number, payload in frames.feed(data):
                    self.answer(writer, kind, number, payload)
        except (OSError, asyncio.IncompleteReadError):
            pass

    def answer(self, writer: asyncio.StreamWriter, kind: int, number: int, payload: bytes) -> None:
        self.heard.append((kind, number, payload))
        self._news.set()
        if kind == RENDER and self.rendered is not None:
            odd, said = self.rendered
            self.say(writer, frame(odd, number, said))
        elif kind == RENDER:
            told = msgspec.msgpack.decode(payload)[1]["request_id"]
            found = RenderedPrompt(told, packed_ids([1, 2]), None)
            self.say(writer, frame(REPLY, number, encode(found)))
        elif kind == GENERATE:
            handle = GENERATES.decode(payload).held
            for piece in self.answers[handle](number):
                self.say(writer, piece)

    def say(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))


@asynccontextmanager
async def asked(**answers: Answers) -> AsyncIterator[tuple[OddNode, PeerEngine]]:
    node = OddNode(answers)
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    node.address_ = f"http://{host}:{port}"
    told: Any = node
    client = PeerClient("gpu-1", told)
    engine = PeerEngine("m", client)
    await client.find()
    try:
        yield node, engine
    finally:
        client.close()
        server.close()
        for writer in node.writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def request(name: str, tokens: int = 5) -> GenerateRequest:
    sampling = Sampling(max_tokens=tokens)
    return GenerateRequest(request_id=name, sampling=sampling, prompt="hi")


async def generated(engine: PeerEngine, name: str) -> list[Delta]:
    asked_for = request(name)
    prompt = await engine.render(asked_for)
    return [delta async for delta in engine.generate(asked_for, prompt)]


def text(number: int, said: str) -> bytes:
    return delta_frame(number, Delta(text=said, token_count=1))


def whole(number: int) -> list[bytes]:
    last = Delta(finish_reason="stop", token_count=1)
    return [text(number, "good"), delta_frame(number, last), frame(END, number)]


def plain(*values: Any) -> bytes:
    return msgspec.msgpack.encode(values)


ODD: dict[str, Answers] = {
    "garbage": lambda number: [frame(PLAIN, number, b"\xc1nonsense")],
    "garbage_in_full": lambda number: [frame(FULL, number, b"\xc1nonsense")],
    "a_reply": lambda number: [frame(REPLY, number, b"")],
    "a_question": lambda number: [frame(RENDER, number, b"")],
    "no_error": lambda number: [frame(ERROR, number, b"nonsense")],
    "negative_tokens": lambda number: [frame(PLAIN, number, plain(0, "a", -5, "", 0))],
    "negative_index": lambda number: [frame(PLAIN, number, plain(-1, "a", 1, "", 0))],
    "negative_in_full": lambda number: [delta_frame(number, Delta(cached_tokens=-5))],
    "an_index_beyond": lambda number: [delta_frame(number, Delta(index=1, token_count=1))],
    "an_index_beyond_in_full": lambda number: [
        delta_frame(number, Delta(index=1, token_count=1, finish_reason="stop"))
    ],
}


@pytest.mark.anyio
@pytest.mark.parametrize("which", ODD)
async def test_an_odd_answer_ends_its_own_request_alone(which: str) -> None:
    async with asked(odd=ODD[which], good=whole) as (node, engine):
        prompt = await engine.render(request("good"))
        with pytest.raises(EngineUnavailable, match="gpu-1 answered what is not understood"):
            await asyncio.wait_for(generated(engine, "odd"), 5)
        found = [delta async for delta in engine.generate(request("good"), prompt)]
        assert "".join(delta.text for delta in found) == "good"
        assert node.channels == 1


@pytest.mark.anyio
async def test_what_comes_behind_an_end_is_nothing() -> None:
    def answers(number: int) -> list[bytes]:
        return [*whole(number), text(number, "more"), frame(END, number), *whole(number + 1)]

    async with asked(good=answers) as (_, engine):
        for _ in range(2):
            found = await generated(engine, "good")
            assert [delta.text for delta in found] == ["good", ""]
            assert sum(delta.token_count for delta in found) == 2


@pytest.mark.anyio
async def test_an_odd_answer_is_aborted_on_the_node() -> None:
    async with asked(odd=ODD["garbage"]) as (node, engine):
        with pytest.raises(EngineUnavailable):
            await generated(engine, "odd")
        await node.until(ABORT)


@pytest.mark.anyio
async def test_a_prompt_that_nobody_generates_is_let_go_and_another_is_not() -> None:
    async with asked(good=whole) as (node, engine):
        prompt = await engine.render(request("unwanted"))
        await generated(engine, "good")
        assert not [each for each in node.heard if each[0] == LET_GO]
        del prompt
        await node.until(LET_GO, b"unwanted")
        assert [each[2] for each in node.heard if each[0] == LET_GO] == [b"unwanted"]


@pytest.mark.anyio
async def test_a_node_that_freezes_is_waited_for_while_it_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, seconds in (("LOOK_S", 0.05), ("PULSE_S", 0.2), ("_FRESH_S", 0.0)):
        monkeypatch.setattr(f"server.peers.client.{name}", seconds)
    async with asked() as (node, engine):
        node.lives = 3
        for ask in (lambda: engine.embed("r", ["a"]), engine.start):
            with pytest.raises(EngineDead, match="gpu-1 did not answer"):
                await asyncio.wait_for(ask(), 10)
        assert node.asked.count("pulse") >= 4
        assert node.lives == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("scheme", "why"),
    [("https", "not trusted here (self-signed certificate); SSL_CERT_FILE"), ("http", "refused")],
)
async def test_why_a_node_is_not_reached_is_told(scheme: str, why: str, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*made().lie_at(tmp_path))
    node = OddNode({})
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1] if scheme == "https" else free_port()
    node.address_ = f"{scheme}://127.0.0.1:{port}"
    told: Any = node
    try:
        with pytest.raises(EngineDead, match=re.escape(why)) as caught:
            await PeerEngine("m", PeerClient("gpu-1", told)).start()
        assert "127.0.0.1" not in str(caught.value)
    finally:
        server.close()


@pytest.mark.anyio
async def test_whose_certificates_are_trusted_is_read_once_and_again_after_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    real = ssl.create_default_context

    def counted() -> ssl.SSLContext:
        reads.append(1)
        return real()

    context = real(ssl.Purpose.CLIENT_AUTH)
    paths = made().lie_at(tmp_path)
    context.load_cert_chain(*paths)
    monkeypatch.setattr(connection, "_trust", connection._Trust())
    monkeypatch.setattr(ssl, "create_default_context", counted)
    node = OddNode({})
    server = await asyncio.start_server(node.serve, "127.0.0.1", 0, ssl=context)
    address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(ssl.SSLCertVerificationError):
        await connection.connected(address)
    monkeypatch.setenv("SSL_CERT_FILE", str(paths[0]))
    made_here = [await connection.connected(address) for _ in range(3)]
    assert len(reads) == 2
    for each in made_here:
        each.close()
    server.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        (REPLY, b""),
        (REPLY, b"\xc1nonsense"),
        (REPLY, encode(RenderedPrompt("h", b"abc", None))),
        (ERROR, b"nonsense"),
        (END, b""),
        (PLAIN, plain(0, "a", 1, "", 0)),
    ],
)
async def test_an_odd_prompt_hurts_its_own_request_alone(answer: tuple[int, bytes]) -> None:
    async with asked(good=whole) as (node, engine):
        prompt = await engine.render(request("good"))
        node.rendered = answer
        with pytest.raises(EngineUnavailable, match="gpu-1 answered what is not understood"):
            await asyncio.wait_for(engine.render(request("odd")), 5)
        found = [delta async for delta in engine.generate(request("good"), prompt)]
        assert len(found) == 2
        assert node.channels == 1
