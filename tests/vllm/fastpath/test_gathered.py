"""The short way of a whole answer: gathered, said once, and as the public way says it."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import structs

from engines.base import Delta, GenerateRequest, Sampling
from engines.vllm.fastpath.fast_path import may_go_fast
from engines.vllm.fastpath.gathered import GatheredStream
from tests.support.fast_streams import Plain, Text

pytestmark = pytest.mark.anyio


class Begun:
    """A stream, what makes its text, and vLLM's state for it."""

    def __init__(self) -> None:
        self.text, self.state = Text(), SimpleNamespace(is_prefilling=True)
        self.stream = GatheredStream("x", cast(Any, Plain()))
        self.read_from_cache: list[int] = []
        self.stream.on_first = self.read_from_cache.append
        self.stream.begin(cast(Any, self.text), self.state)

    def send(self, ids: list[int], finish: str | None = None, cached: int | None = None) -> None:
        stats = None if cached is None else SimpleNamespace(num_cached_tokens=cached)
        output = SimpleNamespace(new_token_ids=ids, finish_reason=finish, prefill_stats=stats)
        before = self.stream.counted
        assert self.stream.take(output) == (self.stream.counted > before)

    async def read(self) -> list[Delta]:
        """Apart from how long it took."""
        return [structs.replace(delta, gathered_s=0.0) for delta in await self.stream.read()]

    def abort(self) -> None:
        choice = SimpleNamespace(text="", token_ids=[], finish_reason="abort")
        self.stream.put(SimpleNamespace(outputs=[choice]))


async def test_its_task_is_woken_once_with_all_of_it() -> None:
    begun = Begun()
    reading = asyncio.ensure_future(begun.read())
    begun.send([1], cached=7)
    assert not begun.state.is_prefilling
    begun.send([2, 3])
    await asyncio.sleep(0)
    assert not reading.done()
    assert (begun.stream.counted, begun.read_from_cache) == (3, [7])
    begun.send([4, 5], "stop")
    assert await reading == [Delta(0, "1 2 3 4 ", 5, cast(Any, "stop"), "", 0, 7)]
    assert begun.stream.is_finished
    assert begun.text.sizes == [4]


async def test_a_long_one_becomes_text_by_and_by() -> None:
    begun, ids = Begun(), list(range(1000))
    for at in range(0, 1000, 10):
        begun.send(ids[at : at + 10])
    begun.send([], "length")
    [delta] = await begun.stream.read()
    assert (delta.text, delta.token_count) == ("".join(f"{n} " for n in ids), 1000)
    assert max(begun.text.sizes) < 300


async def test_it_tells_how_long_before_it_its_first_token_came() -> None:
    begun, apart_s = Begun(), 0.05
    sent_at = time.monotonic()
    begun.send([1])
    await asyncio.sleep(apart_s)
    begun.send([2], "length")
    [delta] = await begun.stream.read()
    assert apart_s * 0.9 < delta.gathered_s <= time.monotonic() - sent_at


async def test_an_abort_is_billed_with_what_there_was() -> None:
    begun = Begun()
    begun.send([1, 2])
    begun.abort()
    begun.send([3])
    begun.send([4], "length")
    assert await begun.read() == [Delta(0, "1 2 ", 2, "abort")]


async def test_an_abort_before_its_first_token_has_nothing() -> None:
    begun = Begun()
    begun.abort()
    assert await begun.stream.read() == [Delta(0, "", 0, "abort")]


async def test_an_error_is_raised_to_its_reader_and_ends_it() -> None:
    begun = Begun()
    begun.send([1])
    begun.stream.put(RuntimeError("the engine is gone"))
    begun.send([2], "length")
    begun.abort()
    with pytest.raises(RuntimeError, match="gone"):
        await begun.stream.read()
    assert not begun.stream.is_finished


async def test_what_fails_fails_this_one_alone() -> None:
    begun = Begun()
    begun.text.sizes = cast(Any, None)
    begun.send([1], "length")
    with pytest.raises(AttributeError):
        await begun.stream.read()


async def test_a_reader_that_was_cancelled_may_come_again() -> None:
    begun = Begun()
    reading = asyncio.ensure_future(begun.stream.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    begun.send([1], "length")
    assert (await begun.stream.read())[0].text == "1 "


@pytest.mark.parametrize(
    ("stream", "has_sink", "is_fast"),
    [(False, False, True), (False, True, True), (True, True, True), (True, False, False)],
)
def test_a_whole_answer_needs_nobody_who_takes_its_pieces(
    stream: bool, has_sink: bool, is_fast: bool
) -> None:
    request = GenerateRequest(
        request_id="x", sampling=Sampling(max_tokens=1), prompt="", stream=stream
    )
    assert may_go_fast(request, has_sink=has_sink) is is_fast


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_tokens=1, n=2),
        Sampling(max_tokens=1, stop=("x",)),
        Sampling(max_tokens=1, logprobs=0),
        Sampling(max_tokens=1, prompt_logprobs=0),
    ],
)
def test_what_is_looked_for_at_each_token_goes_the_public_way(sampling: Sampling) -> None:
    request = GenerateRequest(request_id="x", sampling=sampling, prompt="", stream=False)
    assert not may_go_fast(request, has_sink=True)
