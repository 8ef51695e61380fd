"""The benchmarks beside `make bench`: their figures are right, and they send what they say."""

import argparse
import asyncio
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from benchmarks import laptop, laptop_turns, long_prompts, outside, scale, scale_site, start
from benchmarks.laptop import ENGINE, FJORD, PEER_SIDE
from benchmarks.laptop_asks import CASES, over_http
from benchmarks.load import Load, Run
from benchmarks.long_prompts import Span, arriving, prompts_of
from benchmarks.models import make_model
from benchmarks.outside import RUST_BENCH
from benchmarks.scale_site import FULL, OPEN
from benchmarks.servers import Server
from benchmarks.start import FIRST, SECOND, Start
from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from server.ledger.keys import hash_of
from server.ledger.sqlite import prepared_ledger


def span(p99_ms: float, answers_s: tuple[float, ...] = ()) -> Span:
    return Span(
        itl_p50_ms=1.0,
        itl_p99_ms=p99_ms,
        itl_max_ms=2 * p99_ms,
        chunks_per_s=100.0,
        sent=len(answers_s),
        answers_s=answers_s,
    )


@pytest.mark.parametrize(("beside_ms", "is_reached"), [(11.9, True), (12.1, False)])
def test_long_prompts_are_held_to_the_gaps_without_them(beside_ms: float, is_reached: bool) -> None:
    pairs = [(span(10.0), span(beside_ms, (0.5,))), (span(10.0), span(beside_ms, (0.7,)))]
    found = long_prompts.summary(pairs)
    assert found["reached"] is is_reached
    assert found["itl_p99_ratio"] == pytest.approx(beside_ms / 10)
    assert (found["sent"], found["answered"]) == (2, 2)


def test_no_two_long_prompts_begin_alike() -> None:
    lengths = (64, 512)
    made = [p for tokens in lengths for n in (1, 2) for p in prompts_of(tokens, n, seconds=4)]
    assert len({prompt[:8] for prompt in made}) == len(made) == 32


class Slow(BaseHTTPRequestHandler):
    """Refuses prompts of `no`, answers others."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_refused = asked["messages"][0]["content"] == "no"
        self.send_response(503 if is_refused else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def test_what_became_of_each_long_prompt_is_told() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        arrived = asyncio.run(arriving(server.server_port, {}, ["yes", "no"]))
    finally:
        server.shutdown()
        server.server_close()
    assert (arrived.sent, len(arrived.answers_s)) == (2, 1)
    assert arrived.refused[0].startswith("503")


def test_the_laptops_rows_are_ratios_to_llamacpps_own_server() -> None:
    found = {
        ("plain", 1, PEER_SIDE): laptop.Seen([100.0, 110.0], [0.1], 0, 0.0),
        ("plain", 1, FJORD): laptop.Seen([120.0, 130.0], [0.1], 0, 0.02),
        ("plain", 1, ENGINE): laptop.Seen([140.0], [0.0], 0, 0.0),
    }
    [row] = made = laptop.rows(found, tokens=100)
    assert row["ratio"] == pytest.approx(125 / 105, abs=1e-3)
    assert row["loop_us_per_token"] == 100.0
    assert laptop.loop_verdicts(made) == [
        {"streams": 1, "loop_us_per_token": 100.0, "bound": 156.0, "reached": True}
    ]


def test_only_requests_that_share_a_prefix_may_find_it() -> None:
    for case in CASES:
        body = case.peers_body(3)
        assert body["cache_prompt"] is (case.name == "shared prefix")
        assert ("seed" in body) is not body["cache_prompt"]


USAGE = {"completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}}
EVENTS = (
    {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"delta": {"content": "a \n b"}}]},
    {"choices": [{"delta": {"content": "c"}}]},
    {
        "choices": [],
        "usage": {"completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}},
    },
)


def test_an_answer_is_read_with_its_text_and_what_was_in_the_cache() -> None:
    said = b"HTTP/1.1 200 OK\r\n\r\n"
    said += b"".join(
        b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n" for event in EVENTS
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async def ask() -> Any:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await over_http(url, "m", {"messages": []}, 7, keeps_text=True)

    answer = asyncio.run(ask())
    assert (answer.text, answer.tokens, answer.cached) == ("a \n bc", 7, 5)
    assert answer.first_s > 0


def test_a_second_turn_is_held_to_llamacpps_own() -> None:
    sides = {PEER_SIDE: [0.1, 0.1], FJORD: [0.12, 0.12]}
    found = {(8, n): laptop_turns.Seen([1.0], times, [2000]) for n, times in sides.items()}
    [row] = laptop_turns.rows(found)
    assert (row["ratio"], row["reached"]) == (1.2, False)


def test_first_starts_are_held_to_first_ones_and_second_to_second() -> None:
    seconds = {("fjord", FIRST): 9.0, ("vllm", FIRST): 10.0, ("fjord", SECOND): 5.0}
    seconds |= {("vllm", SECOND): 10.0}
    starts = [
        Start(side=side, which=which, health_s=1.0, ready_s=ready_s, cpu_s=1.0)
        for (side, which), ready_s in seconds.items()
    ]
    found = {r["which"]: r for r in start.summary(starts) if r["side"] == "fjord"}
    assert (found[FIRST]["ratio"], found[FIRST]["reached"]) == (0.9, False)
    assert (found[SECOND]["ratio"], found[SECOND]["reached"]) == (0.5, True)


@pytest.mark.slow
def test_many_of_something_are_measured_on_a_real_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scale_site, "REQUESTS", 8)
    opened = asyncio.run(scale.held(OPEN, [5, 9], idle_s=0.1))
    queued = asyncio.run(scale.held(FULL, [12], idle_s=0.1))
    keys = scale.with_keys(30, idle_s=0.1)
    assert [row.get("number") for row in opened] == [0, 5, 9, None]
    assert [row.get("left") for row in (opened[-1], queued[-1])] == [9, 12]
    told = {name: {"rows": rows} for name, rows in (("open streams", opened), ("keys", [keys]))}
    assert len(scale.table(told).splitlines()) == 2 + 3 + 1
    assert keys["new_key_known_s"] < 10


def test_made_keys_are_keys_to_the_ledger(tmp_path: Path) -> None:
    texts = scale.make_keys(tmp_path, 25)
    books = SqliteDatabase(prepared_ledger(tmp_path))
    try:
        assert {key.secret_hash for key in KeyStore(books).list()} == set(map(hash_of, texts))
    finally:
        books.close()


def test_each_request_of_a_load_comes_with_the_next_key() -> None:
    load = Load(
        host="h", port=1, path="/", headers={}, streams=1, bodies=["{}"] * 3, keys=["a", "b"]
    )
    run = Run(load)
    sent = [run.take() or b"" for _ in range(3)]
    assert [b"X-API-Key: a" in raw for raw in sent] == [True, False, True]


def test_the_other_generators_are_told_the_same(tmp_path: Path) -> None:
    model = make_model("tiny", tmp_path)
    server = Server(
        pid=1, port=9, headers={"X-API-Key": "k"}, health_s=0, ready_s=0, log=tmp_path / "log"
    )
    given = argparse.Namespace(requests=8, streams=4, generator=RUST_BENCH)
    line = outside.command(server, model, tmp_path, given)
    assert line[line.index("--header") + 1] == "X-API-Key=k"
    found = outside.medians(
        [{"side": "a", "x": 1.0}, {"side": "a", "x": 3.0}, {"side": "b", "x": 5}]
    )
    assert found == {"a": {"x": 2.0}, "b": {"x": 5}}
