"""What never reached a client because of the server is not billed; what did is."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from engines.base import Delta, EngineUnavailable, GenerateRequest, Prompt, Sampling, Sink
from engines.testing.scripted import ScriptedEngine
from server.fairness.gates import Gates
from server.ledger.errors import LedgerUnavailable
from server.ledger.ledger import Ledger
from server.ledger.records import UsageRecord
from server.ledger.sqlite import FILE_NAME
from server.requests.answer import GenerationRun
from server.requests.plan import Call, Plan
from server.requests.supervisor import Supervisor
from tests.support.serving import read_records, scripted, serving

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "go"}]}


class Failing(ScriptedEngine):
    """Gives two tokens or more; then it fails this request, and can take the next one."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        count = 0
        async for d in super().generate(request, prompt):
            yield d
            count += d.token_count
            if count >= 2:
                raise EngineUnavailable("The engine failed this request; it may be sent again.")


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_fails_in_the_middle_is_no_rejection(tmp_path: Path, stream: bool) -> None:
    with serving(tmp_path, scripted("m", text="word " * 9), build=Failing) as server:
        asked = CHAT | {"stream": stream}
        url = server.url + "/v1/chat/completions"
        httpx.post(url, headers=server.headers, json=asked, timeout=30)
    (record,) = read_records(tmp_path)
    assert record["end"] == "failed"
    assert record["completion_tokens"] >= 2
    assert bool(record["amount"]) is stream


class TooCached(ScriptedEngine):
    """Finds more in its cache than there is."""

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        async for d in super().generate(request, prompt):
            yield replace(d, cached_tokens=prompt.token_count + 5)


def test_a_prompt_never_has_more_cached_tokens_than_tokens(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m", text="word " * 9), build=TooCached) as server:
        url = server.url + "/v1/chat/completions"
        answer = httpx.post(url, headers=server.headers, json=CHAT, timeout=30).json()
    (record,) = read_records(tmp_path)
    assert record["cached_tokens"] == record["prompt_tokens"] > 0
    assert record["amount"] == record["prompt_tokens"] * 1 + record["completion_tokens"] * 12
    assert answer["usage"]["prompt_tokens"] == record["prompt_tokens"]


class FullAtFirstByte(Ledger):
    """Its disk is full when the first byte would go out, and free again at the end."""

    async def opened(self, record: UsageRecord) -> None:
        raise LedgerUnavailable("full")


class NeverBegins(Ledger):
    """Reads a key's budget for ever, once it `reads`."""

    reads: asyncio.Event

    async def begin(
        self, record: UsageRecord, *, reserve_micro: int = 0, reserve_tokens: int = 0
    ) -> None:
        self.reads.set()
        await asyncio.Event().wait()


class OneEngine:
    """A fleet, and its engine, that gives two tokens for three."""

    context_tokens = 100

    @asynccontextmanager
    async def lease(
        self, alias: str, deadline: float, prefixes: object
    ) -> AsyncIterator["OneEngine"]:
        yield self

    async def render(self, request: GenerateRequest) -> Prompt:
        return Prompt(token_ids=(1, 2, 3))

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        yield Delta(0, "a", 1)
        yield Delta(0, "b", 1, "stop")

    async def abort(self, request_id: str) -> None:
        """It ends by itself."""


class Client:
    """An exchange whose client takes everything."""

    def __init__(self) -> None:
        self.request_id = "req_1"
        self.status = 0
        self.started = False
        self.direct = None
        self.left: Callable[[], None] | None = None

    def watch_disconnect(self, left: Callable[[], None]) -> None:
        self.left = left

    def unwatch(self) -> None:
        self.left = None

    async def fail(self, error: Any) -> None:
        self.status = error.status


def call_of() -> Call:
    record = UsageRecord(
        record_id="req_1",
        key_id="k",
        owner="o",
        alias="m",
        weights="w",
        revision=None,
        endpoint="chat",
        stream=True,
        started_at=1_700_000_000.0,
        end="lost",
        price_input=1_000_000,
        price_output=1_000_000,
    )
    request = GenerateRequest(request_id="req_1", sampling=Sampling(max_tokens=9), prompt="go")
    shape: Any = SimpleNamespace(open=lambda: b"", delta=lambda d: b"x")
    plan = Plan(requests=(request,), shape=shape, has_max_tokens=True)
    spec: Any = SimpleNamespace(alias="m", context_tokens=100)
    forever = float("inf")
    return Call(
        plan=plan,
        spec=spec,
        record=record,
        deadline=forever,
        send_timeout_s=forever,
        keep_alive_s=forever,
    )


async def ended(ledger: Ledger, leaves: asyncio.Event | None = None) -> tuple[str, int, int]:
    """The end, prompt tokens and amount of one streamed request; its client leaves when told."""
    await ledger.start()
    client: Any = Client()
    fleet: Any = OneEngine()
    run = GenerationRun(call_of(), client, fleet, ledger, Gates())
    running = asyncio.ensure_future(run.run(Supervisor()))
    if leaves is not None:
        await leaves.wait()
        client.left()
    await asyncio.wait_for(running, 10)
    await ledger.stop()
    with closing(sqlite3.connect(ledger.data_dir / FILE_NAME)) as connection:
        sql = 'SELECT "end", prompt_tokens, amount FROM usage_records'
        ((end, prompt_tokens, amount),) = connection.execute(sql)
    return end, prompt_tokens, amount


@pytest.mark.anyio
async def test_a_stream_that_the_server_broke_before_its_first_byte_costs_nothing(
    tmp_path: Path,
) -> None:
    ledger = FullAtFirstByte.open(tmp_path, node="n")
    assert await ended(ledger) == ("failed", 3, 0)


@pytest.mark.anyio
async def test_a_prompt_that_no_engine_took_is_not_billed_to_who_leaves(tmp_path: Path) -> None:
    ledger = NeverBegins.open(tmp_path, node="n")
    assert isinstance(ledger, NeverBegins)
    ledger.reads = asyncio.Event()
    assert await ended(ledger, ledger.reads) == ("client_left", 0, 0)
