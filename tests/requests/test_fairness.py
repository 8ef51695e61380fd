"""Owners and keys beside each other on an engine that is full: waits, shares, bounds and ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.registry.spec import ModelSpec
from engines.testing.scripted import ScriptedEngine
from server.ledger.open_books import open_books
from server.ledger.owner_store import OwnerStore
from server.ledger.tenants import OwnerLevel
from tests.support.counting import Counts, counting
from tests.support.floods import MANY, flood
from tests.support.serving import Served, read_records, scripted, serving, wait_until

SEATS, ANSWER = 8, 20
SPEC: dict[str, Any] = {"text": "word " * 400, "seats": SEATS, "load": "start"}
MODEL = scripted("m", token_delay_s=0.02, **SPEC)


@contextmanager
def served(tmp_path: Path, model: ModelSpec = MODEL, **settings: Any) -> Iterator[Served]:
    with serving(tmp_path, model, build=counting(ScriptedEngine), settings=settings) as server:
        wait_until(server.services.fleet.is_ready, "its engine is there")
        yield server


def body(who: str, **fields: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": who}], "max_tokens": ANSWER}
    return asked | fields


async def post(server: Served, key: str, who: str, **fields: Any) -> httpx.Response:
    headers = {"X-API-Key": key} | fields.pop("headers", {})
    url = server.url + "/v1/chat/completions"
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(url, json=body(who, **fields), headers=headers)


async def until(condition: Callable[[], Any], what: str) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


async def generated(engine: Any, tokens: int) -> None:
    """So many more."""
    before = engine.generated_tokens
    await until(lambda: engine.generated_tokens - before > tokens, "it generates")


def counts(server: Served) -> Counts:
    found: Counts = server.engines[0].counts
    return found


def waiting(server: Served) -> int:
    return sum(server.services.gates.waiting.values())


def owner(server: Served, name: str) -> str:
    """The text of a key of that owner's, which may ask for very much."""
    return server.new_key(owner=name, limits=MANY)


@asynccontextmanager
async def full(server: Served, key: str) -> AsyncIterator[None]:
    """All seats are taken, and the one beside them."""
    found = counts(server)
    async with flood(server, key, SEATS + 1, body("holds", max_tokens=400, stream=True)):
        await until(lambda: len(found.began) >= SEATS and found.inside > SEATS, "it is full")
        yield


def test_one_request_beside_a_thousand_takes_at_most_twice_as_long(tmp_path: Path) -> None:
    """In steps of the engine: alone its answer takes as many as it has tokens."""

    async def beside(server: Served, many: str, few: str) -> None:
        async with flood(server, many, 1000, body("many")):
            await until(lambda: waiting(server) > 800, "most of them wait")
            for stream in (True, False):
                answer = await post(server, few, "few", stream=stream)
                assert answer.status_code == 200
                assert counts(server).steps("few", SEATS) <= 2 * ANSWER
            assert waiting(server) > 400
            assert counts(server).most_inside <= SEATS + 1

    with served(tmp_path) as server:
        asyncio.run(beside(server, owner(server, "many"), owner(server, "few")))
        ended(server)


def ended(server: Served) -> None:
    """Nobody is left, and nothing is kept of anybody."""
    wait_until(lambda: not len(server.services.supervisor), "all have ended")
    assert waiting(server) == counts(server).inside == 0
    gate = server.services.gates.of(server.engines[0])
    assert (gate._inside, len(gate._waiters)) == (0, 0)
    assert not gate._ordinary._owners


def test_a_storm_of_cancels_costs_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    async def storm(server: Served, holds: str, many: str) -> None:
        async with full(server, holds):
            async with flood(server, many, 1000, body("many")):
                await until(lambda: waiting(server) == 1000, "they wait")
            await until(lambda: waiting(server) == 0, "they have left")
            assert (await asyncio.to_thread(httpx.get, server.url + "/health")).status_code == 200
            assert "many" not in counts(server).began

    with served(tmp_path) as server:
        asyncio.run(storm(server, owner(server, "holds"), owner(server, "many")))
        ended(server)
        generated = server.engines[0].generated_tokens
    records = read_records(tmp_path)
    of_storm = [each for each in records if each["owner"] == "many"]
    assert len(of_storm) == 1000
    assert {(r["end"], r["prompt_tokens"], r["amount"]) for r in of_storm} == {
        ("client_left", 0, 0)
    }
    assert sum(each["completion_tokens"] for each in records) == generated


async def weighted(server: Served, weights: Mapping[str, int]) -> None:
    """As `fjord owners update` does it."""
    with closing(open_books(server.data_dir, None)) as books:
        for name, weight in weights.items():
            OwnerStore(books).update(name, partial(with_weight, weight))
    ring = server.services.ring
    await until(lambda: all(ring.weight_of(n) == w for n, w in weights.items()), "it is known")


def with_weight(weight: int, owner: OwnerLevel) -> OwnerLevel:
    return replace(owner, weight=weight)


def test_weights_are_shares_of_tokens_and_change_while_they_wait(tmp_path: Path) -> None:
    """Two owners that always want more; then the weights change."""

    async def beside(server: Served, keys: list[str]) -> None:
        engine = server.engines[0]
        async with (
            flood(server, keys[0], 400, body("three", stream=True)),
            flood(server, keys[1], 400, body("one", stream=True, max_tokens=2 * ANSWER)),
        ):
            await until(lambda: waiting(server) > 700, "they wait")
            for weights, expected in (({"three": 3}, 3), ({"one": 2, "three": 1}, 0.5)):
                await weighted(server, weights)
                await generated(engine, 2 * SEATS * ANSWER)  # what ran before
                before = counts(server).tokens.copy()
                await generated(engine, 3_000)
                had = counts(server).tokens - before
                assert had["three"] / had["one"] == pytest.approx(expected, rel=0.1)

    model = scripted("m", token_delay_s=0.003, **SPEC)
    with served(tmp_path, model) as server:
        asyncio.run(beside(server, [owner(server, "three"), owner(server, "one")]))
        ended(server)


def test_an_owners_keys_take_turns(tmp_path: Path) -> None:
    async def beside(server: Served, many: str, other: str) -> None:
        async with flood(server, many, 300, body("many", stream=True)):
            await until(lambda: waiting(server) > 200, "they wait")
            answer = await post(server, other, "other", stream=True)
            assert answer.status_code == 200
            found = counts(server)
            assert found.began.index("other") - found.arrived["other"][1] <= SEATS + 3

    with served(tmp_path) as server:
        asyncio.run(beside(server, owner(server, "same"), owner(server, "same")))
        ended(server)


def test_whoever_waits_when_its_engine_dies_gets_the_next_one(tmp_path: Path) -> None:
    async def beside(server: Served, holds: str, many: str) -> None:
        async with full(server, holds), flood(server, many, 30, body("many")) as clients:
            await until(lambda: waiting(server) == 30, "they wait")
            server.engines[0].kill()
            answers = await clients.answers()
        assert all(answer.startswith("HTTP/1.1 200") for answer in answers)

    with served(tmp_path) as server:
        asyncio.run(beside(server, owner(server, "holds"), owner(server, "many")))
        wait_until(lambda: not len(server.services.supervisor), "all have ended")
        assert len(server.engines) == 2
        assert waiting(server) == 0


def test_a_drain_ends_who_waits(tmp_path: Path) -> None:
    async def beside(server: Served, holds: str, many: str) -> None:
        async with full(server, holds), flood(server, many, 50, body("many")) as clients:
            await until(lambda: waiting(server) == 50, "they wait")
            for answer in tuple(server.services.supervisor._answers):
                loop = answer._task.get_loop()  # type: ignore[attr-defined]
                loop.call_soon_threadsafe(answer.cut, "shut_down")
            answers = await clients.answers()
        assert all('"SHUTTING_DOWN"' in answer for answer in answers)

    with served(tmp_path) as server:
        asyncio.run(beside(server, owner(server, "holds"), owner(server, "many")))
        ended(server)


def test_who_waits_hears_its_place(tmp_path: Path) -> None:
    """In a stream's comments, and in the error where its time is over first."""
    short = {"X-Request-Timeout": "1.5"}

    async def beside(server: Served, holds: str, many: str, few: str) -> None:
        async with full(server, holds), flood(server, many, 5, body("many")):
            await until(lambda: waiting(server) == 5, "they wait")
            whole, streamed = await asyncio.gather(
                post(server, few, "few", headers=short),
                post(server, few, "few", headers=short, stream=True),
            )
        error = whole.json()["error"]
        assert (whole.status_code, error["code"]) == (504, "REQUEST_TIMEOUT")
        assert error["details"] == {"position": 4, "owner_position": 2}
        assert streamed.text.startswith(": waiting position=2 owner_position=1\n\n")
        assert '"position":2,"owner_position":1' in streamed.text

    with served(tmp_path, keep_alive_s=0.2) as server:
        keys = [owner(server, name) for name in ("holds", "many", "few")]
        asyncio.run(beside(server, *keys))
        ended(server)
    ends = {r["end"]: r["amount"] for r in read_records(tmp_path) if r["owner"] == "few"}
    assert ends == {"timed_out": 0}


def test_an_owner_that_fills_the_queue_keeps_nobody_out(tmp_path: Path) -> None:
    async def beside(server: Served, many: str, few: str) -> None:
        async with flood(server, many, 60, body("many", max_tokens=400)) as clients:
            await until(lambda: server.services.supervisor.in_flight("m") == 40, "it is full")
            refused = await post(server, many, "many")
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (503, "OVERLOADED")
            assert error["details"] == {"position": 41, "owner_position": 41, "limit": 40}
            async with flood(server, few, 30, body("few", max_tokens=400)):
                await until(lambda: server.services.supervisor.in_flight("m") == 60, "its share")
                refused = await post(server, few, "few")
                assert refused.json()["error"]["details"]["owner_position"] == 21
            clients.leave()

    with served(tmp_path, queue_limit=40) as server:
        asyncio.run(beside(server, owner(server, "many"), owner(server, "few")))
        ended(server)


def test_sequences_of_one_request_are_counted_and_go_together(tmp_path: Path) -> None:
    """One of more than there are seats runs, too; three answers behind two seats and a margin."""

    async def beside(server: Served, key: str) -> None:
        answers = await asyncio.gather(
            *(post(server, key, "n", n=n) for n in (3, SEATS + 4, 1, 3)),
            post(server, key, "n", stream=True, n=2),
        )
        assert [answer.status_code for answer in answers] == [200] * 5
        assert [len(answer.json()["choices"]) for answer in answers[:4]] == [3, SEATS + 4, 1, 3]

    with served(tmp_path) as server:
        asyncio.run(beside(server, owner(server, "n")))
        ended(server)
