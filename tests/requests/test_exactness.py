"""To the token: what the engine made is what the ledger bills, wherever in it clients leave.

FJORD_TEST_REQUESTS=2000 asks for more requests than the suite has time for.
"""

import asyncio
import json
import logging
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engines.base import Delta, Engine, GenerateRequest, Prompt, Sink
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.engine_fixtures import Lent, on
from tests.support.serving import Served, read_records, scripted, serving, serving_here, wait_until

pytestmark = pytest.mark.anyio

REQUESTS = int(os.environ.get("FJORD_TEST_REQUESTS", "300"))
AT_ONCE = 32
NO_LIMITS = {"requests_per_minute": 10**7, "concurrent": 10**5}
CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
HELLO = [{"role": "user", "content": "Tell me of the fjord and of the boats that come home."}]
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
FORM = {"type": "json_schema", "json_schema": {"name": "form", "schema": SCHEMA}}
USAGE = re.compile(rb'"(?:completion|output)_tokens": ?(\d+)')
HEAD_END = b"\r\n\r\n"

GENERATED = 200
"""The status of a kind that generates."""
KINDS: list[tuple[str, int, dict[str, Any]]] = [
    (CHAT, GENERATED, {"messages": HELLO}),
    (CHAT, GENERATED, {"messages": HELLO, "n": 3}),
    (CHAT, GENERATED, {"messages": HELLO, "stop": ["a", "e"]}),
    (CHAT, GENERATED, {"messages": HELLO, "tools": [TOOL]}),
    (CHAT, GENERATED, {"messages": HELLO, "response_format": FORM}),
    (CHAT, GENERATED, {"messages": HELLO, "logprobs": True, "top_logprobs": 2}),
    (COMPLETIONS, GENERATED, {"prompt": "The boats come home"}),
    (COMPLETIONS, GENERATED, {"prompt": ["One boat", "Two boats come", "Three"], "n": 2}),
    (RESPONSES, GENERATED, {"input": "Tell me of the boats."}),
    (CHAT, 400, {"messages": []}),
    (COMPLETIONS, 400, {"prompt": "x", "temperature": "hot"}),
    (RESPONSES, 400, {"input": "x", "top_p": 7}),
    (CHAT, 404, {"messages": HELLO, "model": "nobody"}),
]


@dataclass
class Client:
    """One request, and how much of its answer is read before the client leaves."""

    name: str
    path: str
    status: int
    body: dict[str, Any]
    leaves_at: int | None = None
    """After so many bytes of the answer; below 0: so many bytes before the request is complete."""
    leaves_after_s: float = 300.0
    rudely: bool = False
    """With a reset rather than an end."""
    answer: bytearray = field(default_factory=bytearray)
    took_s: float = 0.0

    async def run(self, port: int, key: str) -> None:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(self.leaves_after_s):
                sent = self.raw(key)
                writer.write(sent if self.leaves_at is None else sent[: self._sends(len(sent))])
                await self._read(reader)
        if self.rudely:
            writer.transport.abort()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.took_s = time.perf_counter() - began

    def _sends(self, size: int) -> int:
        return size + min(0, self.leaves_at or 0)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        limit = 1 << 30 if self.leaves_at is None else self.leaves_at
        while len(self.answer) < limit and (
            got := await reader.read(min(limit - len(self.answer), 1 << 16))
        ):
            self.answer += got

    def raw(self, key: str) -> bytes:
        body = json.dumps(self.body).encode()
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nConnection: close\r\n"
            f"X-Request-Id: {self.name}\r\nContent-Length: {len(body)}"
        )
        return head.encode() + HEAD_END + body


def kinds(max_tokens: int) -> list[tuple[str, int, dict[str, Any]]]:
    """Each kind whole and streamed."""
    found = []
    for path, status, body in KINDS:
        bound = "max_output_tokens" if path == RESPONSES else "max_tokens"
        asked = {"model": "m", bound: max_tokens, "temperature": 1, "seed": 4} | body
        usage = {} if path == RESPONSES else {"stream_options": {"include_usage": True}}
        found += [(path, status, asked), (path, status, asked | usage | {"stream": True})]
    return found


async def each_kind(server: Served, max_tokens: int) -> list[Client]:
    """One of each to its end: what they weigh, and that they are what they are meant to be."""
    clients = [
        Client(f"whole-{i}", path, status, body)
        for i, (path, status, body) in enumerate(kinds(max_tokens))
    ]
    first = Client("first", *kinds(max_tokens)[0])
    await send(server, [first])  # waits for the model; it is no measure
    await send(server, clients)
    for client in clients:
        assert client.answer.startswith(b"HTTP/1.1 %d " % client.status), client
    return [first, *clients]


def crowd(models: Sequence[Client], count: int) -> list[Client]:
    """`count` clients of all kinds; every third leaves before its end."""
    drawn = random.Random(count)
    clients = []
    for number in range(count):
        model = models[number % len(models)]
        client = Client(f"r-{number}", model.path, model.status, model.body)
        if drawn.random() < 1 / 3:
            client.leaves_at = drawn.randrange(-100, len(model.answer))
            client.leaves_after_s = drawn.uniform(0, 2 * model.took_s)
            client.rudely = drawn.random() < 0.5
        clients.append(client)
    return clients


async def send(server: Served, clients: Sequence[Client]) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    left = iter(clients)

    async def one_after_another() -> None:
        for client in left:
            await client.run(port, server.key)

    await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE)))


async def bills_to_the_token(
    server: Served, max_tokens: int, count: int
) -> tuple[list[Client], int]:
    """Every client that was sent, and what the engine made."""
    clients = await each_kind(server, max_tokens)
    clients += crowd(clients[1:], count)
    await send(server, clients[-count:])
    await asyncio.to_thread(
        wait_until, lambda: not len(server.services.supervisor), "all requests end"
    )
    (engine,) = server.engines
    return clients, engine.generated_tokens


def check(clients: list[Client], generated: int, data_dir: Path, log: "Lines") -> None:
    records = read_records(data_dir)
    assert sum(r["completion_tokens"] for r in records) == generated > 0
    by_name = {r["record_id"].split(".")[0]: r for r in records}
    assert len(by_name) == len(records), "a request has two records"
    assert by_name.keys() == came_whole(log)
    for client in clients:
        if client.answer:
            assert client.name in by_name
        if client.leaves_at is None:
            assert_told_the_same(client, by_name[client.name])
    ends = Counter(r["end"] for r in records)
    assert ends.keys() <= {"ok", "length", "rejected", "client_left"}
    assert ends["client_left"] >= len(clients) // 20, ends
    names = {c.name for c in clients if c.status != GENERATED}
    assert names & by_name.keys() == {
        name for name in by_name if by_name[name]["end"] == "rejected"
    }


class Lines(logging.Handler):
    """The facts of the request log's lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.facts: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.facts.append(record.__dict__["facts"])


@pytest.fixture
def log() -> Iterator[Lines]:
    lines, logger = Lines(), logging.getLogger("fjord.request")
    before = logger.level, logger.propagate
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a thousand lines would hide what failed
    yield lines
    logger.removeHandler(lines)
    logger.level, logger.propagate = before


def came_whole(log: Lines) -> set[str]:
    """Ids of the requests of which the server had the whole body, as its request log has them."""
    return {x["request_id"] for x in log.facts if x["status"] != 499 or "end" in x}


def assert_told_the_same(client: Client, record: dict[str, Any]) -> None:
    assert client.answer.startswith(b"HTTP/1.1 %d " % client.status), client
    if client.status != GENERATED:
        assert (record["end"], record["completion_tokens"]) == ("rejected", 0)
        return
    assert record["end"] in ("ok", "length")
    assert int(USAGE.findall(client.answer)[-1]) == record["completion_tokens"] > 0


@pytest.mark.slow
async def test_every_token_of_the_scripted_engine_is_billed_once(
    tmp_path: Path, log: Lines
) -> None:
    model = scripted("m", text="word " * 30, token_delay_s=0.001)
    with serving(tmp_path, model, settings=NO_LIMITS) as server:
        clients, generated = await bills_to_the_token(server, 40, REQUESTS)
    check(clients, generated, tmp_path, log)


@on("vllm-tiny", "vllm-tiny-public")
async def test_every_token_of_vllm_is_billed_once(
    engine: Engine, tmp_path: Path, log: Lines
) -> None:
    spec = EngineSpec(kind="vllm", source="tiny")
    model = ModelSpec(alias="m", engine=spec, context_tokens=4096, output_tokens=1024)
    lent: Any = Lent(engine)
    async with serving_here(tmp_path, model, settings=NO_LIMITS, build=lambda _: lent) as server:
        clients, generated = await bills_to_the_token(server, 48, REQUESTS)
    check(clients, generated, tmp_path, log)


class SlowToTake(ScriptedEngine):
    """Knows a request only after a while, as vLLM does while it compiles a schema."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(0.3)
        async with aclosing(super().generate(request, prompt)) as deltas:
            async for delta in deltas:
                yield delta


@pytest.mark.slow
async def test_a_client_that_leaves_before_the_engine_has_its_request_is_billed_in_full(
    tmp_path: Path,
) -> None:
    model = scripted("m", token_delay_s=0.01)
    body = {"model": "m", "messages": HELLO, "max_tokens": 2000, "ignore_eos": True}
    with serving(tmp_path, model, build=SlowToTake) as server:
        client = Client("early", CHAT, GENERATED, body, leaves_after_s=0.1)
        await send(server, [client])
        await asyncio.to_thread(wait_until, lambda: not len(server.services.supervisor), "it ends")
        generated = server.engines[0].generated_tokens
    (record,) = read_records(tmp_path)
    assert (record["end"], record["completion_tokens"]) == ("client_left", generated)
    assert record["duration_us"] < 10e6
