"""Merging tokens under load: what waits, for how long, and that nothing is lost on the way."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from engines.base import Delta
from engines.vllm_lane import Lane
from engines.vllm_merge import DELAY_S, FEW_STREAMS, HOLD_S, Merger

pytestmark = pytest.mark.anyio

MANY = FEW_STREAMS + 1
STEP_S = 0.01


@dataclass
class Output:
    """As much of vLLM's EngineCoreOutput as is looked at."""

    request_id: str
    new_token_ids: list[int]
    finish_reason: str | None = None


class Detokenizer:
    """Says each id as a word."""

    def __init__(self) -> None:
        self.text, self.read = "", 0

    def update(self, ids: list[int], stopped: bool) -> None:
        self.text += "".join(f" {i}" for i in ids)

    def get_next_output_text(self, finished: bool, delta: bool) -> str:
        new, self.read = self.text[self.read :], len(self.text)
        return new


@dataclass
class Stream:
    """One request: vLLM's state, collector and our reader in one."""

    detokenizer: Detokenizer = field(default_factory=Detokenizer)
    output: Any = None
    short: list[Delta] = field(default_factory=list)
    long: list[int] = field(default_factory=list)
    ready: bool = True
    fails: bool = False
    taken: asyncio.Event = field(default_factory=asyncio.Event)

    def is_ready(self) -> bool:
        return self.ready

    def take(self, delta: Delta) -> None:
        if self.fails:
            raise RuntimeError("this reader is broken")
        self.short.append(delta)
        self.taken.set()

    def put(self, error: Exception) -> None:
        self.output = error

    def piece(self, text: str, ids: list[int]) -> Delta:
        return Delta(0, text, len(ids))

    @property
    def tokens(self) -> int:
        return len(self.long) + sum(d.token_count for d in self.short)


class Processor:
    """vLLM's output processor: the long way."""

    def __init__(self) -> None:
        self.request_states: dict[str, Stream] = {}

    def process_outputs(self, outputs: list[Output], stamp: float) -> int:
        for output in outputs:
            stream = self.request_states.get(output.request_id)
            if stream is None:
                continue
            stream.long += output.new_token_ids
            stream.detokenizer.update(output.new_token_ids, False)
            stream.detokenizer.get_next_output_text(False, True)
            if output.finish_reason:
                del self.request_states[output.request_id]
        return len(outputs)

    def abort_requests(self, ids: list[str], internal: bool) -> list[str]:
        return [i for i in ids if self.request_states.pop(i, None)]

    def propagate_error(self, error: Exception) -> None:
        for stream in self.request_states.values():
            stream.put(error)


class Engine:
    """Steps all streams, one token each, on a clock of its own."""

    def __init__(self, streams: int, delay_s: float = DELAY_S, *, is_whole: bool = False) -> None:
        self.now = 100.0
        self.processor: Any = Processor()
        self.merger = Merger(self.processor, delay_s, lambda: self.now)
        self.streams = {f"r{i}": Stream() for i in range(streams)}
        self.processor.request_states.update(self.streams)
        self.counted = 0
        for name, stream in self.streams.items():
            made: Any = stream
            self.merger.begin(name, Lane(made, made, made, stream, self.count, is_whole))

    def count(self, tokens: int) -> None:
        self.counted += tokens

    def step(self, ids: dict[str, int], ends: str | None = None) -> None:
        self.now += STEP_S
        outputs = [Output(n, [i], "length" if n == ends else None) for n, i in ids.items()]
        self.processor.process_outputs(outputs, self.now)

    def steps(self, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            self.step(dict.fromkeys(self.streams, number))

    def steps_until_something_waits(self) -> int:
        """Returns how many tokens each stream was made by then."""
        for number in range(100):
            self.steps(1, first=number)
            if all(s.tokens < number for s in self.streams.values()):
                return number + 1
        raise AssertionError("nothing ever waited")


async def test_a_first_token_never_waits_and_goes_the_long_way() -> None:
    engine = Engine(MANY)
    engine.steps(1)
    assert all(s.long == [0] and not s.short for s in engine.streams.values())


async def test_few_streams_get_every_token_at_once() -> None:
    engine = Engine(FEW_STREAMS)
    for number in range(5):
        engine.step(dict.fromkeys(engine.streams, number))
        assert all(s.tokens == number + 1 for s in engine.streams.values())
    assert all([d.token_count for d in s.short] == [1] * 4 for s in engine.streams.values())


async def test_many_streams_get_several_tokens_at_once_and_none_waits_too_long() -> None:
    engine = Engine(MANY)
    engine.steps(20)
    made_at: dict[int, float] = {}
    stream = engine.streams["r0"]
    for number in range(20, 60):
        before = stream.tokens
        engine.step(dict.fromkeys(engine.streams, number))
        made_at[number + 1] = engine.now
        for token in range(before + 1, stream.tokens + 1):
            assert engine.now - made_at.get(token, engine.now) <= DELAY_S
    sizes = [d.token_count for d in stream.short[5:]]
    assert set(sizes) == {1 + int(DELAY_S / STEP_S)}
    assert [d.text for d in stream.short][-1].split()[-1] == str(stream.tokens - 1)


async def test_a_last_token_takes_along_what_waited() -> None:
    engine = Engine(MANY)
    made = engine.steps_until_something_waits()
    engine.step({"r0": made}, ends="r0")
    assert engine.streams["r0"].tokens == made + 1
    engine.steps(30, first=made + 1)
    assert engine.streams["r0"].tokens == made + 1, "nothing comes twice"


async def test_an_abort_counts_what_waited() -> None:
    engine = Engine(MANY)
    made = engine.steps_until_something_waits()
    engine.processor.abort_requests(["r3"], True)
    assert [s.tokens for s in engine.streams.values()] == [made] * MANY


async def test_a_reader_that_is_not_ready_gets_the_same_tokens_the_long_way() -> None:
    engine = Engine(MANY)
    slow = engine.streams["r1"]
    slow.ready = False
    engine.steps(50)
    slow.ready = True
    engine.steps(50, first=50)
    engine.merger.flush()
    assert slow.tokens == 100
    assert len(slow.long) > 40
    assert len(slow.short) > 5
    assert engine.counted == sum(d.token_count for s in engine.streams.values() for d in s.short)


async def test_unread_outputs_close_the_short_way_so_that_order_stays() -> None:
    engine = Engine(MANY)
    engine.steps(10)
    engine.streams["r1"].output = "unread"
    short = len(engine.streams["r1"].short)
    engine.steps(20, first=10)
    assert len(engine.streams["r1"].short) == short


async def test_a_broken_reader_fails_alone() -> None:
    engine = Engine(MANY)
    engine.streams["r2"].fails = True
    engine.steps(20)
    assert isinstance(engine.streams["r2"].output, RuntimeError)
    engine.merger.flush()
    assert engine.streams["r1"].tokens == 20


async def test_slow_steps_are_never_waited_for() -> None:
    engine = Engine(MANY)
    for number in range(40):
        engine.now += 0.2
        engine.step(dict.fromkeys(engine.streams, number))
    assert all(s.tokens == 40 for s in engine.streams.values())


async def test_a_stalled_engine_leaves_no_token_waiting() -> None:
    engine = Engine(MANY)
    made = engine.steps_until_something_waits()
    engine.streams["r0"].taken.clear()
    await asyncio.wait_for(engine.streams["r0"].taken.wait(), 5)
    assert engine.streams["r0"].tokens == made


async def test_without_a_delay_nothing_merges() -> None:
    engine = Engine(MANY, delay_s=0.0)
    engine.steps(10)
    assert all([d.token_count for d in s.short] == [1] * 9 for s in engine.streams.values())


@pytest.mark.parametrize("streams", [1, MANY])
async def test_the_tokens_of_a_whole_answer_go_together(streams: int) -> None:
    engine = Engine(streams, is_whole=True)
    engine.steps(101)
    sizes = [d.token_count for d in engine.streams["r0"].short]
    assert min(sizes) >= HOLD_S / STEP_S, sizes
    assert 0 <= 101 - engine.streams["r0"].tokens <= 1 + HOLD_S / STEP_S
    engine.step({"r0": 101}, ends="r0")
    assert engine.streams["r0"].tokens == 102


async def test_streams_beside_whole_answers_wait_no_longer() -> None:
    engine = Engine(MANY, is_whole=True)
    stream: Any = Stream()
    engine.streams["s"] = engine.processor.request_states["s"] = stream
    engine.merger.begin("s", Lane(stream, stream, stream, stream, engine.count))
    engine.steps(60)
    assert {d.token_count for d in stream.short[5:]} == {1 + int(DELAY_S / STEP_S)}


@pytest.mark.parametrize("ending", ["abort", "error", "stop"])
async def test_whatever_ends_a_whole_answer_counts_what_was_held(ending: str) -> None:
    engine = Engine(MANY, is_whole=True)
    engine.steps(20)
    assert engine.streams["r0"].tokens == 1
    if ending == "abort":
        engine.processor.abort_requests(["r0"], True)
    elif ending == "error":
        engine.processor.propagate_error(RuntimeError("it died"))
    else:
        engine.merger.stop()
    assert [s.tokens for s in engine.streams.values()] == [20] * MANY
