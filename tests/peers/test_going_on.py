"""A prompt that is generated as it stands is asked for once: the node goes on by itself, and ends
what the front does not want after all."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engines.base import GenerateRequest, Sampling
from server.api.peer.calls import ChannelQuestion
from server.api.peer.channel import NodeChannel
from server.ledger.errors import BudgetExceeded
from server.peers.wire import (
    ABORT,
    END,
    FULL,
    GENERATE,
    LET_GO,
    PLAIN,
    RENDER,
    REPLY,
    RenderCall,
    encode,
    frame,
)
from tests.peers.test_channel import ASKER, REPLIES, heard_all, talking
from tests.support.peers import PeerSite, peer_site
from tests.support.serving import read_records, scripted, wait_until
from tests.support.sites import new_site, postgres_server

MODELS = (
    scripted("m", text="one two three"),
    scripted("small", context_tokens=64, output_tokens=60),
    scripted("slow", text="a " * 4000, token_delay_s=0.01),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerSite]:
    with (
        postgres_server() as server,
        peer_site(tmp_path_factory.mktemp("site"), new_site(server), *MODELS) as found,
    ):
        yield found


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the node is asked from now on."""
    heard: list[int] = []
    original = ChannelQuestion._heard

    def noted(
        self: ChannelQuestion, exchange: Any, channel: Any, kind: int, number: int, payload: bytes
    ) -> None:
        heard.append(kind)
        original(self, exchange, channel, kind, number, payload)

    monkeypatch.setattr(ChannelQuestion, "_heard", noted)
    return heard


def runs(site: PeerSite, alias: str) -> int:
    """On the node."""
    return site.nodes[1].services.supervisor.in_flight(alias)


@pytest.mark.parametrize(
    "more", [{}, {"n": 2}, {"stream": True}, {"logprobs": True}, {"stop": ["two"]}]
)
def test_one_prompt_is_asked_for_once(
    site: PeerSite, kinds: list[int], more: dict[str, Any]
) -> None:
    assert site.chat(**more).status_code == 200
    assert kinds == [RENDER]


def test_several_prompts_wait_for_each_other(site: PeerSite, kinds: list[int]) -> None:
    answer = site.post("/v1/completions", model="m", prompt=["a", "b"], max_tokens=5)
    assert len(answer.json()["choices"]) == 2
    assert sorted(kinds) == [RENDER, RENDER, GENERATE, GENERATE]


def test_a_default_that_shrinks_is_asked_for_anew(site: PeerSite, kinds: list[int]) -> None:
    answers = [site.chat("word " * 8, number, model="small").json() for number in (0, 1)]
    usages = [answer["usage"] for answer in answers]
    assert usages[0] == usages[1]
    assert usages[0]["prompt_tokens"] > 4
    assert kinds == [RENDER, GENERATE]


def test_a_prompt_that_is_only_counted_is_not_generated(site: PeerSite, kinds: list[int]) -> None:
    messages = [{"role": "user", "content": "hi"}]
    body: dict[str, Any] = {"model": "m", "messages": messages, "max_tokens": 5}
    counted = site.post("/v1/messages/count_tokens", **body)
    assert counted.json()["input_tokens"] > 0
    assert GENERATE not in kinds
    wait_until(lambda: LET_GO in kinds, "the prompt is let go")


def test_what_the_budget_refuses_ends_on_the_node(
    site: PeerSite, kinds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise BudgetExceeded("It is used up.")

    monkeypatch.setattr(site.nodes[0].services.ledger, "begin", refused)
    answer = site.chat(model="slow")
    assert answer.status_code >= 400
    wait_until(lambda: runs(site, "slow") == 0, "it ends on the node")
    wait_until(lambda: ABORT in kinds, "it was told")


def test_what_a_client_leaves_before_it_is_booked_ends_on_the_node(
    site: PeerSite, kinds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = site.nodes[0].services.ledger
    original, is_there = ledger.begin, threading.Event()

    async def slow(*given: Any, **named: Any) -> None:
        is_there.set()
        await asyncio.sleep(60)
        await original(*given, **named)

    monkeypatch.setattr(ledger, "begin", slow)
    body = {"model": "slow", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{site.nodes[0].url}/v1/chat/completions",
            json=body,
            headers={"X-API-Key": site.key},
            timeout=1,
        )
    assert is_there.is_set()
    wait_until(lambda: ABORT in kinds, "it was told")
    wait_until(lambda: runs(site, "slow") == 0, "it ends on the node")


def test_the_bill_is_the_fronts_alone(site: PeerSite) -> None:
    answer = site.chat()
    used = answer.json()["usage"]

    def booked() -> bool:
        records = [
            each
            for server in site.nodes
            for each in read_records(server.data_dir)
            if each["record_id"] == answer.headers["x-request-id"]
        ]
        return [(each["prompt_tokens"], each["completion_tokens"]) for each in records] == [
            (used["prompt_tokens"], used["completion_tokens"])
        ]

    wait_until(booked, "there is one record")


# By hand


def asked(alias: str, text: str = "hi", max_tokens: int = 50, *, goes_on: bool = True) -> bytes:
    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=max_tokens),
        messages=[{"role": "user", "content": text}],
    )
    return encode(RenderCall(alias, request, ASKER, 60.0, goes_on))


def test_it_goes_on_under_its_number(site: PeerSite) -> None:
    with talking(site) as talk:
        talk.say(frame(RENDER, 7, asked("m")))
        kind, number, payload = talk.hear()
        assert (kind, number, REPLIES.decode(payload).held) == (REPLY, 7, "")
        assert heard_all(talk, 7)[-1] == END


@pytest.mark.parametrize("max_tokens", [63, 64, 10**6])
def test_what_does_not_fit_is_kept(site: PeerSite, max_tokens: int) -> None:
    with talking(site) as talk:
        talk.say(frame(RENDER, 7, asked("small", max_tokens=max_tokens)))
        _, _, payload = talk.hear()
        assert REPLIES.decode(payload).held


def test_an_abort_ends_it_wherever_it_is(site: PeerSite) -> None:
    with talking(site) as talk:
        for number in range(1, 30):
            talk.say(frame(RENDER, number, asked("slow", max_tokens=4000)))
            if number % 3 == 0:
                wait_until(lambda: runs(site, "slow") > 0, "it is generated")
            talk.say(frame(ABORT, number))
            wait_until(lambda: runs(site, "slow") == 0, "it has ended")


def test_a_front_that_leaves_ends_it(site: PeerSite) -> None:
    with talking(site) as talk:
        talk.say(frame(RENDER, 1, asked("slow", max_tokens=4000)))
        assert talk.hear()[0] == REPLY
    wait_until(lambda: runs(site, "slow") == 0, "it has ended")


@pytest.mark.parametrize(
    ("more", "urgent"),
    [
        ({"max_tokens": 1, "stream": True}, [REPLY, END]),
        ({"max_tokens": 1}, [REPLY, END]),
        ({"stream": True}, [REPLY, PLAIN]),
        ({}, [REPLY, END]),
        ({"stream": True, "n": 2, "max_tokens": 1}, [REPLY, FULL]),
    ],
)
def test_nothing_that_somebody_waits_for_is_gathered(
    site: PeerSite, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], urgent: list[int]
) -> None:
    """An answer's first text, all of it where there is no more, and the end of a whole one."""
    writes: list[int] = []
    original = NodeChannel.write

    def noted(self: NodeChannel, piece: bytes, *, is_urgent: bool = True) -> None:
        if is_urgent:
            writes.append(piece[4])
        original(self, piece, is_urgent=is_urgent)

    monkeypatch.setattr(NodeChannel, "write", noted)
    assert site.chat(**more).status_code == 200
    assert writes == urgent
