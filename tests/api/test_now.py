"""/admin/v1/now and its events: what a server does at this moment, and what it costs to watch."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api.admin.now import watching
from server.api.admin.now.seen import seen_by
from server.api.admin.now.watching import Watching
from server.api.admin.now.wire import MomentPast, Now
from server.requests.supervisor import Supervisor
from tests.support.serving import Served, make_key, scripted, serving, wait_until

SLOW = {"text": " ".join(["word"] * 400), "token_delay_s": 0.02}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data_dir = tmp_path_factory.mktemp("data")
    admin = make_key(data_dir, service="admin", name="root", owner="us")
    models = [
        scripted("slow", **SLOW),
        scripted("theirs", owners=frozenset({"acme"})),
        scripted("broken", fail_load="no such card"),
        scripted("one-seat", text=SLOW["text"], token_delay_s=0.02, seats=1),
    ]
    with serving(data_dir, *models) as server:
        server.key = admin
        yield server


def now(served: Served) -> dict[str, Any]:
    answer = httpx.get(f"{served.url}/admin/v1/now", headers=served.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def model(found: dict[str, Any], alias: str) -> dict[str, Any]:
    return next(each for each in found["models"] if each["alias"] == alias)


@contextmanager
def streams(served: Served, alias: str, count: int = 1) -> Iterator[None]:
    """So many answers run until the block ends; their clients then leave."""
    key = served.new_key(name="app", owner="acme")
    body = {"model": alias, "messages": [{"role": "user", "content": "?"}], "stream": True}
    with httpx.Client(headers={"X-API-Key": key}, timeout=60) as client:
        url = f"{served.url}/v1/chat/completions"
        asked = [client.build_request("POST", url, json=body) for _ in range(count)]
        with ThreadPoolExecutor(count) as threads:
            coming = [threads.submit(client.send, each, stream=True) for each in asked]
            try:
                yield
            finally:
                for each in as_completed(coming):
                    each.result().close()


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_what_runs_is_told_by_alias_with_its_speed(served: Served) -> None:
    with streams(served, "slow", 2):
        wait_until(lambda: now(served)["total"]["running"] == 2, "both run")
        wait_until(lambda: (model(now(served), "slow")["tokens_per_s"] or 0) > 20, "it is fast")
        found = now(served)
        slow = model(found, "slow")
        assert (slow["state"], slow["running"], slow["queued"]) == ("ready", 2, 0)
        assert 20 < slow["tokens_per_s"] < 110
        assert 0 < slow["ttft_p50_ms"] <= slow["ttft_p90_ms"] < 30_000
        assert slow["swaps"]["loads"] == 1
        assert found["total"]["running"] == 2
        assert model(found, "theirs")["running"] == 0
    wait_until(lambda: model(now(served), "slow")["running"] == 0, "its clients left")
    assert model(now(served), "slow")["ended"] == 2


def test_a_machine_without_cards_has_its_memory(served: Served) -> None:
    [device] = now(served)["devices"]
    assert device["card"] is None
    assert 0 < device["used_bytes"] < device["total_bytes"]


def test_a_broken_engine_is_an_alert_that_says_what_to_do(served: Served) -> None:
    headers = {"X-API-Key": served.key}
    httpx.post(f"{served.url}/admin/v1/models/broken/load", headers=headers)
    wait_until(lambda: model(now(served), "broken")["state"] == "failed", "its load failed")
    [alert] = [each for each in now(served)["alerts"] if each["aliases"] == ["broken"]]
    assert (alert["alert"], alert["severity"]) == ("EngineFailed", "critical")
    assert "fjord doctor" in alert["action"]


def test_events_come_while_somebody_watches(served: Served) -> None:
    url = f"{served.url}/admin/v1/now/events"
    with httpx.stream("GET", url, headers=served.headers, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        first, second = (each for each, _ in zip(events(answer), range(2), strict=False))
    assert second["at"] > first["at"]
    assert "history" not in first
    assert len(now(served)["history"]) >= 2


def test_nobody_watches_without_an_admin_key(served: Served) -> None:
    for path in ("now", "now/events", "registry", "registry/slow"):
        assert httpx.get(f"{served.url}/admin/v1/{path}").status_code == 401


def test_one_person_cannot_keep_others_from_watching(served: Served) -> None:
    key = make_key(served.data_dir, service="admin", name="watcher", owner="us")
    url = f"{served.url}/admin/v1/now"
    headers = {"X-API-Key": key}
    wait_until(lambda: httpx.get(url, headers=headers).status_code == 200, "the key is known")
    url = f"{url}/events"
    with httpx.Client(headers=headers, timeout=30) as client:
        with ExitStack() as stack:
            opened = [client.stream("GET", url) for _ in range(watching.MOST_OF_ONE)]
            told = [events(stack.enter_context(each)) for each in opened]
            assert all(next(each) for each in told)
            refused = client.get(url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "OVERLOADED")
        wait_until(lambda: _first_status(client, url) == 200, "those who left are no more")


def _first_status(client: httpx.Client, url: str) -> int:
    with client.stream("GET", url) as answer:
        return answer.status_code


def test_the_drain_ends_the_events(tmp_path: Path) -> None:
    admin = make_key(tmp_path, service="admin")
    with serving(tmp_path) as server:
        url, headers = f"{server.url}/admin/v1/now/events", {"X-API-Key": admin}
        with httpx.stream("GET", url, headers=headers, timeout=30) as answer:
            told = events(answer)
            next(told)
            server.services.supervisor.draining = True
            assert list(told) is not None
        refused = httpx.get(url, headers=headers)
        assert refused.status_code == 503


def looked(tokens: float = 0.0) -> Now:
    total = MomentPast(
        at=1.0, tokens_per_s=tokens, running=0, queued=0, ttft_p50_ms=None, ttft_p90_ms=None
    )
    return Now(at=1.0, draining=False, devices=[], models=[], alerts=[], total=total)


@pytest.mark.anyio
async def test_nothing_is_looked_at_while_nobody_watches() -> None:
    looks = 0

    async def look() -> Now:
        nonlocal looks
        looks += 1
        return looked()

    watched = Watching(look, Supervisor(), every_s=0.001)
    assert watched.history.maxlen == 300
    await asyncio.sleep(0.01)
    assert looks == 0
    with watched.watcher("a"):
        async for found in watched.looks():
            assert found is not None
            if looks > 2:
                break
    await asyncio.sleep(0.01)
    seen = looks
    await asyncio.sleep(0.02)
    assert looks == seen


@pytest.mark.anyio
async def test_a_look_that_fails_is_a_heartbeat_and_the_next_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "HEARTBEAT_S", 0.02)
    outcomes = iter([RuntimeError("a bug")] * 40)

    async def look() -> Now:
        for error in outcomes:
            raise error
        return looked(7.0)

    watched = Watching(look, Supervisor(), every_s=0.002)
    told = []
    with watched.watcher("a"):
        async for found in watched.looks():
            told.append(found)
            if found is not None:
                break
    assert told[0] is None
    assert told[-1] is not None
    assert told[-1].total is not None
    assert told[-1].total.tokens_per_s == 7.0


def test_an_owners_people_hear_of_no_other_and_not_what_all_do(served: Served) -> None:
    found = Now.model_validate(now(served))
    seen = seen_by(found, "other", {"slow", "broken"})
    assert [each.alias for each in seen.models] == ["slow", "broken"]
    assert (seen.devices, seen.total) == (None, None)
    assert {each.running for each in seen.models} == {None}
    text = seen.model_dump_json()
    assert "no such card" not in text
    assert "theirs" not in text
    assert [each.aliases for each in seen.alerts] in ([], [["broken"]])
    assert seen_by(found, None, set()) is found


def test_the_registry_is_told_as_it_runs(served: Served) -> None:
    url = f"{served.url}/admin/v1/registry"
    found = httpx.get(url, headers=served.headers).json()
    assert [each["alias"] for each in found["models"]] == ["slow", "theirs", "broken", "one-seat"]
    theirs = found["models"][1]
    assert theirs["owners"] == ["acme"]
    assert theirs["prices"] == [
        {"currency": "NOK", "input": "4.000000", "cached_input": "1.000000", "output": "12.000000"}
    ]
    one = httpx.get(f"{url}/theirs", headers=served.headers).json()
    assert one["registered"] == theirs
    assert one["operated"]["state"] == "cold"
    missing = httpx.get(f"{url}/x/y", headers=served.headers)
    assert missing.json()["error"]["code"] == "MODEL_NOT_FOUND"


def test_who_waits_for_a_seat_is_queued(served: Served) -> None:
    with streams(served, "one-seat", 3):

        def counts() -> tuple[int, int]:
            found = model(now(served), "one-seat")
            return found["running"], found["queued"]

        wait_until(lambda: counts() == (2, 1), "one has its seat, one is next to it, one waits")
        assert model(now(served), "one-seat")["longest_wait_s"] >= 0
