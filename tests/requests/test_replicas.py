"""Replicas seen from outside: a killed or full one is no client's trouble, nor the ledger's."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.base import EngineDead
from engines.registry.spec import ModelSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fragile import Fragile
from tests.support.serving import Served, make_key, read_records, scripted, serving, wait_until

LONG = " ".join(f"ord{i}" for i in range(60))
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Fortell."}]}
COMPLETION: dict[str, Any] = {"prompt": "Fortell."}
PATHS = [("/v1/chat/completions", CHAT), ("/v1/completions", COMPLETION)]
EACH_WAY = [(path, body, stream) for path, body in PATHS for stream in (False, True)]
THREE = {"overload_above": 3}
each_way = pytest.mark.parametrize(("path", "body", "stream"), EACH_WAY)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as threads:
        yield threads


def ask(server: Served, path: str, body: dict[str, Any], stream: bool = False) -> httpx.Response:
    asked = {"model": "m", "max_tokens": 100, "stream": stream} | body
    return httpx.post(server.url + path, headers=server.headers, json=asked, timeout=60)


def text_of(answer: httpx.Response, stream: bool) -> str:
    """All that it says; it must have ended properly."""
    assert answer.status_code == 200, answer.text
    if not stream:
        (choice,) = answer.json()["choices"]
        assert choice["finish_reason"] in ("stop", "length")
        return str(choice["text"] if "text" in choice else choice["message"]["content"])
    assert answer.text.endswith("data: [DONE]\n\n"), answer.text[-300:]
    lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [json.loads(line.removeprefix("data: "))["choices"] for line in lines]
    assert [c["finish_reason"] for each in choices for c in each][-1] in ("stop", "length")
    said = [
        c["text"] if "text" in c else c["delta"].get("content") for each in choices for c in each
    ]
    return "".join(filter(None, said))


def ready(server: Served) -> int:
    return sum(engine.state == "ready" for engine in server.services.fleet.statuses())


def all_ready(server: Served, count: int = 2) -> None:
    wait_until(lambda: ready(server) == count, f"{count} replicas serve")


class Gated(ScriptedEngine):
    """Each request on it stops after `gate_at` tokens until the gate is open."""

    is_open = False

    async def _pause(self, run: Any, seconds: float) -> None:
        if run.tokens == self.args["gate_at"]:
            while not (Gated.is_open or self._dead or run.aborted):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        await super()._pause(run, seconds)


@pytest.fixture(autouse=True)
def gate() -> None:
    Gated.is_open = False


def gated(tokens: int) -> ModelSpec:
    return scripted("m", replicas=2, load="start", text=LONG, gate_at=tokens)


def running(server: Served, tokens: int) -> int:
    """Requests that have come so far, on whichever replica."""
    runs = [run for engine in server.engines for run in list(engine._running.values())]
    return sum(run.tokens == tokens for run in runs)


def kill_the_busiest(server: Served) -> int:
    """How many requests were on it; in its event loop, since it is no other thread's."""
    victim = max(server.engines, key=lambda engine: len(engine._running))
    lost = len(victim._running)
    assert 0 < lost < 6, "both replicas have some"
    owner = server.services.fleet._owner
    assert owner is not None
    owner.get_loop().call_soon_threadsafe(victim.kill)
    wait_until(lambda: victim._dead and not victim._running, "it is dead")
    return lost


@each_way
def test_a_request_without_a_token_goes_to_another_replica_and_nobody_knows(
    tmp_path: Path, pool: ThreadPoolExecutor, path: str, body: dict[str, Any], stream: bool
) -> None:
    with serving(tmp_path, gated(0), build=Gated) as server:
        all_ready(server)
        answers = [pool.submit(ask, server, path, body, stream) for _ in range(6)]
        wait_until(lambda: running(server, 0) == 6, "all of them run")
        kill_the_busiest(server)
        wait_until(lambda: running(server, 0) == 6, "all of them run again")
        Gated.is_open = True
        for answer in answers:
            assert text_of(answer.result(60), stream) == LONG
        all_ready(server)
    records = read_records(tmp_path)
    assert [r["end"] for r in records] == ["ok"] * 6
    assert {(r["completion_tokens"], r["amount"]) for r in records} == {
        (61, records[0]["prompt_tokens"] * 4 + 61 * 12)
    }


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_only_the_streams_of_the_replica_that_dies_end_and_as_they_always_did(
    tmp_path: Path, pool: ThreadPoolExecutor, path: str, body: dict[str, Any]
) -> None:
    with serving(tmp_path, gated(5), build=Gated) as server:
        all_ready(server)
        answers = [pool.submit(ask, server, path, body, True) for _ in range(6)]
        wait_until(lambda: running(server, 5) == 6, "all of them have tokens")
        lost = kill_the_busiest(server)
        Gated.is_open = True
        found = [answer.result(60) for answer in answers]
        cut = [answer for answer in found if '"error"' in answer.text]
        assert len(cut) == lost
        assert all(text_of(answer, True) == LONG for answer in found if answer not in cut)
        for answer in cut:
            assert "MODEL_UNAVAILABLE" in answer.text
            assert "abort" not in answer.text
        assert text_of(ask(server, path, body), False) == LONG
    records = read_records(tmp_path)
    assert sorted(r["end"] for r in records) == ["engine_died"] * lost + ["ok"] * (7 - lost)
    counted = {r["end"]: (r["completion_tokens"], r["amount"] > 0) for r in records}
    assert counted == {"engine_died": (5, True), "ok": (61, True)}


def test_a_whole_answer_that_is_lost_before_anything_of_it_was_handed_over_is_made_anew(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    """An engine that folds its deltas gives none before the end. It is billed once."""
    with serving(tmp_path, gated(5), build=Gated) as server:
        all_ready(server)
        answers = [pool.submit(ask, server, *PATHS[0]) for _ in range(6)]
        wait_until(lambda: running(server, 5) == 6, "all of them have tokens")
        kill_the_busiest(server)
        Gated.is_open = True
        assert {text_of(answer.result(60), False) for answer in answers} == {LONG}
    ends = [(record["end"], record["completion_tokens"]) for record in read_records(tmp_path)]
    assert ends == [("ok", 61)] * 6


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_kills_two_of_three_replicas_is_not_given_the_third(
    tmp_path: Path, stream: bool
) -> None:
    with serving(tmp_path, scripted("m", replicas=3, load="start"), build=Fragile) as server:
        all_ready(server, 3)
        answer = ask(server, "/v1/completions", {"prompt": "deadly"}, stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
        assert sum(engine._dead for engine in server.engines[:3]) == 2
        assert text_of(ask(server, "/v1/completions", {"prompt": "mild"}), False) == "mild"
        all_ready(server, 3)
    assert [r["end"] for r in read_records(tmp_path)] == ["engine_died", "ok"]


def test_a_full_replica_hands_its_request_on_and_all_full_is_503(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    """Limits of an engine are each replica's own: two that take three take six together. All
    requests begin alike, so that a warm replica would have them all."""
    model = gated(5)
    model = replace(model, engine=replace(model.engine, args={**model.engine.args, **THREE}))
    with serving(tmp_path, model, build=Gated) as server:
        all_ready(server)
        answers = [pool.submit(ask, server, "/v1/completions", COMPLETION, True) for _ in range(6)]
        wait_until(lambda: [len(e._running) for e in server.engines] == [3, 3], "both are full")
        full = ask(server, "/v1/completions", COMPLETION)
        assert (full.status_code, full.json()["error"]["code"]) == (503, "OVERLOADED")
        Gated.is_open = True
        for answer in answers:
            assert text_of(answer.result(60), True) == LONG
    ends = [record["end"] for record in read_records(tmp_path)]
    assert (len(ends), ends.count("ok")) == (7, 6)


class Deaf(ScriptedEngine):
    """Its first replica dies when it embeds."""

    async def embed(self, *args: Any, **kwargs: Any) -> Any:
        if self.spec.replica == 0:
            self.kill()
            raise EngineDead("it died of an embedding")
        return await super().embed(*args, **kwargs)


def test_embeddings_go_to_another_replica_too(tmp_path: Path) -> None:
    model = scripted("m", replicas=2, load="start", task="embed")
    with serving(tmp_path, model, build=Deaf) as server:
        all_ready(server)
        for _ in range(3):
            answer = ask(server, "/v1/embeddings", {"input": "hei du"})
            assert answer.status_code == 200
    records = read_records(tmp_path)
    assert [(r["end"], r["prompt_tokens"]) for r in records] == [("ok", 2)] * 3


def test_a_conversation_stays_with_its_replica_and_the_count_of_tokens_costs_nothing(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, scripted("m", replicas=3, load="start")) as server:
        all_ready(server, 3)
        opening = [{"role": "system", "content": f"{'x' * 300}"}]
        for turn in range(6):
            opening.append({"role": "user", "content": f"turn {turn}"})
            assert ask(server, "/v1/chat/completions", {"messages": opening}).status_code == 200
            counted = ask(server, "/v1/tokenize", {"messages": opening})
            assert counted.status_code == 200
        assert sum(bool(engine.generated_tokens) for engine in server.engines) == 1


def test_each_replica_has_its_series_and_operators_see_how_many_serve(tmp_path: Path) -> None:
    admin = make_key(tmp_path, service="admin")
    models = [scripted("m", replicas=3, load="start"), scripted("one")]
    with serving(tmp_path, *models) as server:
        all_ready(server, 3)
        text = httpx.get(server.url + "/metrics").text
        key = models[0].engine.key
        for name in (key, f"{key}#2", f"{key}#3"):
            assert f'fjord_engine_state{{engine="{name}",state="ready"}} 1.0' in text
            assert f'fjord_engine_requests{{engine="{name}"}} 0.0' in text
        assert f'engine="{models[1].engine.key}"' in text
        assert f"{models[1].engine.key}#" not in text
        listed = httpx.get(f"{server.url}/admin/v1/models", headers={"X-API-Key": admin})
        many, one = listed.json()["models"]
        assert (many["replicas"], many["ready_replicas"], many["state"]) == (3, 3, "ready")
        assert (one["replicas"], one["ready_replicas"], one["state"]) == (1, 0, "cold")
        details = httpx.get(f"{server.url}/v1/models?details=true", headers=server.headers)
        assert [m["state"] for m in details.json()["data"]] == ["ready", "cold"]
        engines = httpx.get(f"{server.url}/ready").json()["engines"]
        assert len(engines) == 4
