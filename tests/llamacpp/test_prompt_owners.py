"""Once two owners have asked an engine nobody finds a prompt there: what one asks is no other's."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from engines.base import Engine, GenerateRequest
from engines.llamacpp.admission import SlotQueue
from engines.llamacpp.prompt_calls import Means, PromptCalls
from engines.llamacpp.recent_prompts import RecentPrompts
from engines.llamacpp.task import Task
from engines.testing.tiny_vision import TILE
from tests.support.engine_fixtures import answer, ask, llamacpp_idefics3, llamacpp_smollm2
from tests.support.fleets import until
from tests.support.pictures import picture
from tests.support.seeing import seen

pytestmark = pytest.mark.anyio
PROGRESS = b'{"content":"","prompt_progress":{"total":3,"cache":0,"processed":3,"time_ms":1}}'
TOKEN = b'{"content":"x"}'


class Server:
    """Each call says two chunks: a prompt's progress and, once it may, a first token."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.may_say = threading.Event()
        self.may_end = threading.Event()

    def handle_completions(self, payload: bytes, on_chunk: Any, takes_rest: Any) -> None:
        self.calls.append(msgspec.json.decode(payload))
        on_chunk(PROGRESS)
        self.may_say.wait(30)
        on_chunk(TOKEN)
        self.may_end.wait(30)

    @property
    def began(self) -> dict[int, bool]:
        """A prompt's first token -> whether it may find something."""
        return {call["prompt"][0]: call["cache_prompt"] for call in self.calls}


def queue_on(server: Server) -> SlotQueue:
    model = SimpleNamespace(
        slot_count=4,
        cells=1000,
        step_tokens=64,
        long_prompt_tokens=None,
        server=server,
        reading_slot=lambda seed: 0,
        recent_prompts=RecentPrompts(4),
        room=SimpleNamespace(make=lambda cells: None),
    )
    return SlotQueue(cast(Any, model))


def task(name: int, salt: str | None, *, known: int = 2, slots: int = 1) -> Task:
    return Task(
        fields={"prompt": [name, 1, 2], "cache_prompt": True},
        slots=slots,
        cells=10,
        first_index=0,
        priority=0,
        is_whole=False,
        unread_tokens=3 - known,
        salt=salt,
    )


@pytest.mark.parametrize("salts", [("a", "a"), (None, None)])
async def test_one_owner_s_prompts_are_found(salts: tuple[str | None, str | None]) -> None:
    server = Server()
    slots = queue_on(server)
    for name, salt in enumerate(salts, 1):
        slots.submit(task(name, salt))
    await until(lambda: server.began == {1: True, 2: True})
    server.may_say.set()
    server.may_end.set()
    await asyncio.to_thread(slots.close)


@pytest.mark.parametrize("other", ["b", None])
async def test_a_second_owner_waits_for_prompts_that_might_find_his(other: str | None) -> None:
    """And only for them: not for the answers. Who waited with them finds nothing any more."""
    server = Server()
    slots = queue_on(server)
    slots.submit(task(1, "a"))
    behind = task(2, "a", slots=4)  # waits for free slots
    slots.submit(behind)
    second, third = task(3, other), task(4, "a")
    slots.submit(second)
    slots.submit(third)
    assert (behind.unread_tokens, second.unread_tokens, third.unread_tokens) == (3, 3, 3)
    await until(lambda: 1 in server.began)
    assert len(slots._running) == 1
    server.may_say.set()
    await until(lambda: len(server.began) == 3)
    assert server.began == {1: True, 3: False, 4: False}
    server.may_end.set()
    await until(lambda: 2 in server.began)
    assert server.began[2] is False
    await asyncio.to_thread(slots.close)


def test_a_prompt_that_is_read_anew_goes_on_from_its_own_slot_alone() -> None:
    """A long one's calls: the first finds nothing, nor does one that has lost its slot."""
    long = task(1, "a")
    long.read_anew()
    means = cast(Means, SimpleNamespace(piece_tokens=lambda: 1))
    calls = PromptCalls(long, means)

    def sent() -> tuple[bool, int | None]:
        call = msgspec.json.decode(calls.payload(2, 7))
        return call["cache_prompt"], call.get("id_slot")

    assert sent() == (False, None)
    long.cached_tokens, calls.slot = 0, 5
    assert sent() == (True, 5)
    calls.slot = None
    assert sent() == (False, None)


LONG = "What one owner asks is not to be seen by another. " * 8


async def cached(engine: Engine, request: GenerateRequest) -> int:
    return max(delta.cached_tokens for delta in await answer(engine, request))


async def test_no_guess_is_told_from_another(tmp_path: Path) -> None:
    """An owner asks; another asks the same, its beginnings, and what goes on from it, alone and at
    once, in one choice and several, chats with a shared system prompt; and asks again."""
    engine = llamacpp_smollm2(tmp_path)
    await engine.start()

    async def found(salt: str, words: str, **more: Any) -> int:
        return await cached(engine, ask(words, cache_salt=salt, max_tokens=1, **more))

    assert await found("a", LONG) == 0
    assert await found("a", LONG) > 80, "one owner's"
    guesses = [LONG, LONG[:200], "What", LONG + "And then?"]
    assert [await found("b", guess) for guess in guesses] == [0] * 4
    mixed = [found(salt, guess) for guess in guesses for salt in ("b", "a", "c")]
    assert set(await asyncio.gather(*mixed)) == {0}
    assert await found("b", LONG, n=3) == 0
    assert await found("b", LONG * 4) == 0, "in pieces"
    messages = [{"role": "system", "content": LONG}, {"role": "user", "content": "Hi"}]
    for salt in ("a", "b"):
        fields: dict[str, Any] = {"cache_salt": salt, "shared_prompts": (LONG,)}
        assert await cached(engine, ask(messages=messages, max_tokens=1, **fields)) == 0
    await engine.stop()


async def test_no_guess_of_a_picture_is_told_from_another(tmp_path: Path) -> None:
    """Nor where two files of one picture are told apart here and alike to llama.cpp."""
    red, blue = (picture((TILE, TILE), color) for color in ("red", "blue"))
    webp = picture((TILE, TILE), "red", "WEBP", lossless=True)
    engine = llamacpp_idefics3(tmp_path)
    await engine.start()

    async def found(salt: str, *parts: bytes | str) -> int:
        return await cached(engine, seen("q", *parts, "s", cache_salt=salt, max_tokens=1))

    assert await found("a", red) == 0
    assert await found("a", red) > 30, "one owner's"
    guesses: list[tuple[str, bytes]] = [("b", red), ("b", red), ("c", webp), ("b", blue)]
    assert [await found(*guess) for guess in guesses] == [0] * 4
    assert set(await asyncio.gather(*(found(*guess) for guess in guesses * 2))) == {0}
    await engine.stop()
