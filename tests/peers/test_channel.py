"""A node's door, and the channel behind it, asked by somebody who knows the password and errs."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from engines.base import GenerateRequest, Sampling
from server.api.peer.held import KEPT_S
from server.peers.directory import Directory
from server.peers.wire import (
    ABORT,
    END,
    ERROR,
    GENERATE,
    GONE,
    LET_GO,
    OPENED,
    PROTOCOL,
    RENDER,
    REPLY,
    Asker,
    FrameReader,
    GenerateCall,
    RenderCall,
    RenderedPrompt,
    decoder,
    encode,
    frame,
)
from tests.support.peers import PeerSite, peer_site
from tests.support.serving import scripted, wait_until
from tests.support.sites import new_site, postgres_server

MODELS = (
    scripted("m", text="one two three"),
    scripted("slow", text="a " * 4000, token_delay_s=0.01),
)
ASKER = Asker("acme", "k")
REPLIES = decoder(RenderedPrompt)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    with (
        postgres_server() as server,
        peer_site(tmp_path_factory.mktemp("site"), new_site(server), *MODELS) as found,
    ):
        yield found


class Talk:
    """A channel by hand."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self._reader = FrameReader()
        self._frames: Iterator[tuple[int, int, bytes]] = iter(())
        self._rest = b""

    def say(self, data: bytes) -> None:
        self.client.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def hear(self) -> tuple[int, int, bytes]:
        while True:
            for found in self._frames:
                return found
            self._frames = self._reader.feed(self._chunk())

    def _chunk(self) -> bytes:
        while b"\r\n" not in self._rest:
            self._rest += self._more()
        head, _, self._rest = self._rest.partition(b"\r\n")
        length = int(head, 16)
        while len(self._rest) < length + 2:
            self._rest += self._more()
        data, self._rest = self._rest[:length], self._rest[length + 2 :]
        return data

    def _more(self) -> bytes:
        data = self.client.recv(65536)
        if not data:
            raise EOFError
        return data

    def rendered(self, number: int, alias: str = "m", text: str = "hi") -> RenderedPrompt:
        self.say(frame(RENDER, number, encode(call(alias, text))))
        kind, found, payload = self.hear()
        assert (kind, found) == (REPLY, number)
        reply: RenderedPrompt = REPLIES.decode(payload)
        return reply

    def ends(self) -> bool:
        """Whether the node ends it."""
        self.client.settimeout(5)
        try:
            while True:
                self.hear()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False


def call(alias: str = "m", text: str = "hi") -> RenderCall:
    messages = [{"role": "user", "content": text}]
    sampling = Sampling(max_tokens=4000)
    request = GenerateRequest(
        request_id=f"r-{time.time_ns()}", sampling=sampling, messages=messages
    )
    return RenderCall(alias, request, ASKER, 5.0)


def generates(held: str) -> bytes:
    return encode(GenerateCall(held, Sampling(max_tokens=4000), 0, ASKER, 60.0))


@contextmanager
def talking(site: PeerSite) -> Iterator[Talk]:
    node = site.nodes[1]
    password = asyncio.run(Directory(node.services.ledger.open_books).password())
    host, port = node.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(
            f"POST /peer/v1/channel HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {password}\r\n"
            f"x-fjord-peer: {PROTOCOL}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        talk = Talk(client)
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 200")
        assert talk.hear() == (OPENED, 0, b"")
        yield talk


def heard_all(talk: Talk, number: int) -> list[int]:
    kinds: list[int] = []
    while not kinds or kinds[-1] not in (END, ERROR, GONE):
        kind, found, _ = talk.hear()
        assert found == number
        kinds.append(kind)
    return kinds


def test_a_generation_by_hand(site: PeerSite) -> None:
    with talking(site) as talk:
        held = talk.rendered(1)
        talk.say(frame(GENERATE, 2, generates(held.held)))
        assert heard_all(talk, 2)[-1] == END


@pytest.mark.parametrize("data", [b"\xff" * 64, frame(END, 1, b""), b"GET / HTTP/1.1\r\n\r\n" * 9])
def test_nonsense_ends_the_channel_or_is_nothing(site: PeerSite, data: bytes) -> None:
    with talking(site) as talk:
        talk.say(data)
        if data.startswith(frame(END, 1)):
            talk.rendered(3)
        else:
            assert talk.ends()


@pytest.mark.parametrize("kind", [RENDER, GENERATE])
def test_a_call_that_is_none_ends_the_channel(site: PeerSite, kind: int) -> None:
    with talking(site) as talk:
        talk.say(frame(kind, 1, b"nonsense"))
        assert talk.ends()


def test_a_frame_beyond_any_body_is_refused_by_its_head(site: PeerSite) -> None:
    with talking(site) as talk:
        talk.say(b"\xff\xff\xff\x7f" + bytes([RENDER]) + bytes(4))
        assert talk.ends()


def test_a_prompt_is_generated_once(site: PeerSite) -> None:
    with talking(site) as talk:
        held = talk.rendered(1)
        talk.say(frame(GENERATE, 2, generates(held.held)))
        heard_all(talk, 2)
        talk.say(frame(GENERATE, 3, generates(held.held)))
        assert heard_all(talk, 3) == [GONE]
        talk.say(frame(GENERATE, 4, generates("nobody")))
        assert heard_all(talk, 4) == [GONE]


def test_a_prompt_is_kept_for_seconds_and_its_engine_with_it(site: PeerSite) -> None:
    fleet = site.nodes[1].services.fleet

    def leases() -> int:
        return sum(status.leases for status in fleet.statuses() if "m" in status.aliases)

    wait_until(lambda: leases() == 0, "earlier ones are let go", timeout_s=10)
    with talking(site) as talk:
        held = talk.rendered(1)
        assert leases() == 1
        wait_until(lambda: leases() == 0, "it is let go", timeout_s=10)
        talk.say(frame(GENERATE, 2, generates(held.held)))
        assert heard_all(talk, 2) == [GONE]


def test_a_prompt_that_nobody_wants_is_let_go_at_once(site: PeerSite) -> None:
    fleet = site.nodes[1].services.fleet

    def leases() -> int:
        return sum(status.leases for status in fleet.statuses())

    wait_until(lambda: leases() == 0, "earlier ones are let go", timeout_s=10)
    began = time.monotonic()
    with talking(site) as talk:
        held = talk.rendered(1)
        talk.say(frame(LET_GO, 0, held.held.encode()))
        talk.say(frame(LET_GO, 0, b"nobody"))
        wait_until(lambda: leases() == 0, "it is let go", timeout_s=KEPT_S)
        talk.say(frame(GENERATE, 2, generates(held.held)))
        assert heard_all(talk, 2) == [GONE]
    for _ in range(3):
        assert site.post("/v1/tokenize", model="m", prompt="one two").status_code == 200
    wait_until(lambda: leases() == 0, "what was only counted is let go", timeout_s=KEPT_S)
    assert time.monotonic() - began < KEPT_S


@pytest.mark.parametrize("kind", [RENDER, GENERATE])
def test_a_number_in_use_ends_the_channel_and_all_that_runs(site: PeerSite, kind: int) -> None:
    supervisor = site.nodes[1].services.supervisor
    with talking(site) as talk:
        held = talk.rendered(1, "slow")
        talk.say(frame(GENERATE, 2, generates(held.held)))
        talk.hear()
        more = talk_of(kind)
        talk.say(frame(kind, 2, more))
        assert talk.ends()
        wait_until(lambda: len(supervisor) == 0, "all of it ends", timeout_s=10)


def talk_of(kind: int) -> bytes:
    return encode(call()) if kind == RENDER else generates("nobody")


def test_a_front_that_asks_without_end_and_takes_nothing_is_not_heard(site: PeerSite) -> None:
    """What it is owed stays bounded: the node reads no more of it, and drops it in the end."""
    many = frame(GENERATE, 1, generates("")) * 2000

    def ask(talk: Talk) -> None:
        for _ in range(2**30 // len(many)):
            talk.say(many)

    with talking(site) as talk:
        talk.client.settimeout(1)
        with pytest.raises((TimeoutError, ConnectionError)):
            ask(talk)
    assert site.chat().status_code == 200


def test_100_000_that_nobody_knows_are_answered(site: PeerSite) -> None:
    with talking(site) as talk:
        for first in range(0, 100_000, 10_000):
            numbers = range(first, first + 10_000)
            talk.say(b"".join(frame(GENERATE, n, generates("nobody")) for n in numbers))
            assert [talk.hear()[:2] for _ in numbers] == [(GONE, n) for n in numbers]


def test_a_frame_byte_by_byte_and_half_of_one(site: PeerSite) -> None:
    with talking(site) as talk:
        whole = frame(RENDER, 1, encode(call()))
        for at in range(len(whole)):
            talk.say(whole[at : at + 1])
        assert talk.hear()[:2] == (REPLY, 1)
        talk.say(frame(RENDER, 2, encode(call()))[:-1])
        assert site.chat().status_code == 200
    supervisor = site.nodes[1].services.supervisor
    wait_until(lambda: len(supervisor) == 0, "nothing is left")


def test_a_front_makes_again_what_was_kept_too_short(
    site: PeerSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.peer.held.KEPT_S", 0.0)
    answer = site.chat()
    monkeypatch.undo()
    assert answer.status_code in (200, 503)
    assert site.chat().status_code == 200


@pytest.mark.parametrize("how", ["abort", "leave", "reset"])
def test_what_nobody_hears_ends(site: PeerSite, how: str) -> None:
    supervisor = site.nodes[1].services.supervisor
    with talking(site) as talk:
        held = talk.rendered(1, "slow")
        talk.say(frame(GENERATE, 2, generates(held.held)))
        talk.hear()
        assert len(supervisor) == 1
        if how == "abort":
            talk.say(frame(ABORT, 2))
            assert heard_all(talk, 2)[-1] == END
        elif how == "reset":
            talk.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: len(supervisor) == 0, "it ends", timeout_s=10)


def test_what_is_ended_before_it_began_is_told_its_end(site: PeerSite) -> None:
    supervisor = site.nodes[1].services.supervisor
    with talking(site) as talk:
        held = talk.rendered(1, "slow")
        talk.say(frame(GENERATE, 2, generates(held.held)) + frame(ABORT, 2))
        assert heard_all(talk, 2)[-1] == END
        talk.say(frame(RENDER, 3, encode(call("slow"))) + frame(ABORT, 3))
        talk.rendered(4)
        wait_until(lambda: len(supervisor) == 0, "it ends", timeout_s=10)


def test_numbers_that_nobody_knows_are_nothing(site: PeerSite) -> None:
    with talking(site) as talk:
        for number in (0, 7, 2**32 - 1):
            talk.say(frame(ABORT, number))
        talk.rendered(1)


def test_one_of_another_version_is_told(site: PeerSite) -> None:
    node = site.nodes[1]
    password = asyncio.run(Directory(node.services.ledger.open_books).password())
    headers = {"authorization": f"Bearer {password}", "x-fjord-peer": "999"}
    answer = httpx.post(f"{node.url}/peer/v1/pulse", headers=headers)
    assert answer.status_code == 426


def test_many_at_once_come_apart(site: PeerSite) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda i=i: found.append((i, site.chat(f"w{i}"))))
        for i in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for _, answer in found] == [200] * 40
    texts = {answer.json()["choices"][0]["message"]["content"] for _, answer in found}
    assert texts == {"one two three"}
