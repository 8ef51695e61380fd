"""The short way of a stream's tokens: when it is taken, and that order and text stay."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from engines.base import Delta
from engines.testing.tiny import make_llama
from engines.vllm.fastpath.output_router import OutputRouter, can_route
from engines.vllm.fastpath.stream import DirectStream
from engines.vllm.fastpath.text import DetokenizedText, TextMakers
from engines.vllm.vocabulary import Vocabulary
from tests.support.fast_streams import Plain, Text


@dataclass
class Output:
    """As much of vLLM's EngineCoreOutput as is looked at."""

    request_id: str
    new_token_ids: list[int]
    finish_reason: str | None = None
    prefill_stats: Any = None


@dataclass
class Reader:
    """A Sink, and what the request's own task would read."""

    short: list[Delta] = field(default_factory=list)
    is_open: bool = False
    fails: bool = False

    def is_ready(self) -> bool:
        return self.is_open

    def take(self, delta: Delta) -> None:
        if self.fails:
            raise RuntimeError("this reader is broken")
        self.short.append(delta)


class Engine:
    """As much of vLLM's AsyncLLM as an OutputRouter uses; records what goes vLLM's own way."""

    def __init__(self) -> None:
        self.model_config = SimpleNamespace(max_model_len=100)
        self.output_processor = self
        self.engine_core = self
        self.request_states: dict[str, Any] = {}
        self.by_vllm: list[str] = []
        self.aborted: list[str] = []
        self.is_dead = False
        self.router = OutputRouter(self, TextMakers(cast(Vocabulary, None)))
        self.router.attach()

    def _run_output_handler(self) -> None:
        pass

    def add_request(self, request: Any, prompt: None, parent: None, index: int, lane: Any) -> None:
        state = SimpleNamespace(detokenizer=None, queue=lane, is_prefilling=True)
        self.request_states[request.request_id] = state

    async def add_request_async(self, request: Any) -> None:
        if self.is_dead:
            raise RuntimeError("the engine is dead")

    async def abort(self, name: str, internal: bool) -> None:
        assert internal
        self.aborted.append(name)
        self.request_states.pop(name, None)

    def _finish_request(self, state: Any) -> None:
        [name] = [name for name, known in self.request_states.items() if known is state]
        del self.request_states[name]

    def process_outputs(self, outputs: Sequence[Output], stamp: float) -> str:
        assert stamp == 1.0
        self.by_vllm += [output.request_id for output in outputs]
        return "vLLM's own"

    async def add(self, name: str) -> tuple[DirectStream, Reader]:
        reader = Reader()
        lane = DirectStream(name, cast(Any, Plain()), reader)
        await self.router.add(SimpleNamespace(request_id=name, prompt_token_ids=[1]), lane)
        lane.begin(cast(Any, Text()), self.request_states[name])
        return lane, reader

    def send(self, *outputs: Output) -> None:
        assert self.output_processor.process_outputs(list(outputs), 1.0) == "vLLM's own"


@pytest.fixture
def engine() -> Engine:
    return Engine()


pytestmark = pytest.mark.anyio


async def test_between_its_first_and_its_last_a_stream_wakes_nobody(engine: Engine) -> None:
    lane, reader = await engine.add("a")
    engine.send(Output("a", [1], prefill_stats=SimpleNamespace(num_cached_tokens=7)))
    assert await lane.read() == [Delta(0, "1 ", 1, None, "", 0, 7)]
    reader.is_open = True
    engine.send(Output("a", [2, 3]))
    engine.send(Output("a", [4]))
    assert reader.short == [Delta(0, "2 3 ", 2), Delta(0, "4 ", 1)]
    assert (engine.router.tokens, lane.is_finished) == (3, False)
    engine.send(Output("a", [5, 6], "stop"))
    assert await lane.read() == [Delta(0, "5 ", 2, cast(Any, "stop"))]
    assert (lane.is_finished, engine.request_states, engine.by_vllm) == (True, {}, [])


async def test_a_task_that_waits_is_woken(engine: Engine) -> None:
    lane, _ = await engine.add("a")
    waiting = asyncio.ensure_future(lane.read())
    await asyncio.sleep(0)
    engine.send(Output("a", [1]))
    assert await waiting == [Delta(0, "1 ", 1)]


async def test_a_request_without_a_lane_goes_their_way(engine: Engine) -> None:
    await engine.add("a")
    await engine.add("b")
    engine.router.end("b")
    engine.router.end("b")
    engine.send(Output("a", [1]), Output("b", [1]))
    assert engine.by_vllm == ["b"]


async def test_a_reader_that_is_behind_gets_all_in_one(engine: Engine) -> None:
    lane, reader = await engine.add("a")
    for ids in ([1], [2], [3, 4]):
        engine.send(Output("a", ids))
    reader.is_open = True
    engine.send(Output("a", [5]))  # what is owed comes first
    assert await lane.read() == [Delta(0, "1 2 3 4 5 ", 5)]
    engine.send(Output("a", [6]))
    assert reader.short == [Delta(0, "6 ", 1)]


async def test_what_comes_after_an_abort_is_not_said(engine: Engine) -> None:
    lane, reader = await engine.add("a")
    engine.send(Output("a", [1]))
    lane.put(
        SimpleNamespace(outputs=[SimpleNamespace(text="", token_ids=[], finish_reason="abort")])
    )
    reader.is_open = True
    engine.send(Output("a", [2]), Output("a", [3], "length"))
    assert await lane.read() == [Delta(0, "1 ", 1, "abort")]
    assert (lane.is_finished, reader.short) == (True, [])


async def test_a_broken_reader_fails_alone(engine: Engine) -> None:
    one, broken = await engine.add("a")
    _, reader = await engine.add("b")
    broken.fails = broken.is_open = reader.is_open = True
    engine.send(Output("a", [1]), Output("b", [1]))
    with pytest.raises(RuntimeError, match="broken"):
        await one.read()
    assert reader.short == [Delta(0, "1 ", 1)]
    broken.fails = False
    engine.send(Output("a", [2]))
    assert (broken.short, one.is_finished) == ([], False)


async def test_a_prompt_that_was_read_is_no_longer_counted_as_waiting(engine: Engine) -> None:
    await engine.add("a")
    await engine.add("b")
    engine.send(Output("a", [1]))
    waiting = [name for name, state in engine.request_states.items() if state.is_prefilling]
    assert waiting == ["b"]


async def test_a_request_whose_registration_fails_leaves_nothing(engine: Engine) -> None:
    await engine.add("a")
    engine.router.texts = cast(Any, None)
    with pytest.raises(AttributeError):
        await engine.add("b")
    assert (engine.aborted, list(engine.request_states)) == (["b"], ["a"])


async def test_a_dead_engine_keeps_nothing_of_a_request(engine: Engine) -> None:
    engine.is_dead = True
    with pytest.raises(RuntimeError, match="dead"):
        await engine.add("a")
    assert (engine.aborted, engine.request_states) == (["a"], {})
    engine.send(Output("a", [1]))
    assert engine.by_vllm == ["a"]


@pytest.mark.parametrize("why", ["log_stats", "tracing_enabled", "log_requests", "stream_interval"])
def test_no_short_way_where_vllm_must_see_all(why: str) -> None:
    processor = SimpleNamespace(log_stats=False, tracing_enabled=False, stream_interval=1)
    llm = SimpleNamespace(output_processor=processor, log_requests=False)
    assert can_route(llm)
    setattr(llm if why == "log_requests" else processor, why, 2)
    assert not can_route(llm)


class Detokenizer:
    """vLLM's FastIncrementalDetokenizer, as far as it is used: one token after another."""

    def __init__(self, tokenizer: Tokenizer, is_plain: bool = True) -> None:
        self.tokenizer = tokenizer
        self.stream: Any = DecodeStream(ids=[], skip_special_tokens=True)
        self.spaces_between_special_tokens = is_plain
        self.token_ids: list[int] = []
        self.updates = 0
        self._text = ""

    def update(self, ids: Sequence[int], stopped: bool) -> None:
        self.updates += 1
        self.token_ids += ids
        self._text += "".join(self.stream.step(self.tokenizer, i) or "" for i in ids)

    def get_next_output_text(self, finished: bool, delta: bool) -> str:
        text, self._text = self._text, ""
        return text


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder: Path = make_llama(tmp_path_factory.mktemp("llama"))
    return AutoTokenizer.from_pretrained(folder)


def in_groups(words: DetokenizedText, ids: list[int], drawn: random.Random) -> str:
    text, rest = "", list(ids)
    while rest:
        count = drawn.randint(1, 6)
        text += words.of(rest[:count])
        rest = rest[count:]
    return text


@pytest.mark.vllm
@pytest.mark.parametrize("is_plain", [True, False])
def test_groups_of_tokens_say_what_single_ones_do(tokenizer: Any, is_plain: bool) -> None:
    drawn, vocabulary = random.Random(1), Vocabulary(tokenizer)
    inside = tokenizer.backend_tokenizer
    pieces = ["héllo", "🙂", "中文字", "a", "  ", "\n", "🇳🇴", "x1", tokenizer.eos_token]
    for number in range(400):
        ids = tokenizer.encode("".join(drawn.choices(pieces, k=12)), add_special_tokens=False)
        if number % 2:
            ids = [drawn.randrange(len(tokenizer)) for _ in range(30)]
        alone, grouped = Detokenizer(inside), Detokenizer(inside, is_plain)
        alone.update(ids, False)
        text = in_groups(DetokenizedText(grouped, vocabulary), ids, drawn)
        text += grouped.get_next_output_text(True, True)
        assert text == alone.get_next_output_text(True, True)
        assert grouped.token_ids == ids


@pytest.mark.vllm
def test_most_groups_of_plain_text_take_one_step(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer.backend_tokenizer)
    ids = tokenizer.encode("the fjord is deep and cold " * 20, add_special_tokens=False)
    in_groups(DetokenizedText(detokenizer, Vocabulary(tokenizer)), ids, random.Random(1))
    assert detokenizer.updates == 0


@pytest.mark.vllm
def test_text_is_not_kept_back_by_half_a_character(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer.backend_tokenizer)
    ids = tokenizer.encode("so 🙂", add_special_tokens=False)
    assert DetokenizedText(detokenizer, Vocabulary(tokenizer)).of(ids[:-1]) == "so "


@pytest.mark.vllm
def test_a_stream_that_is_out_of_step_falls_back(tokenizer: Any) -> None:
    class Broken:
        def step(self, tokenizer: Any, ids: Any) -> str:
            if isinstance(ids, list):
                raise TypeError("only single ids")
            return "x"

    detokenizer = Detokenizer(tokenizer.backend_tokenizer)
    detokenizer.stream = Broken()
    ids = tokenizer.encode("abc", add_special_tokens=False)
    words = DetokenizedText(detokenizer, Vocabulary(tokenizer))
    assert words.of(ids) == "x" * len(ids)
    assert words.of(ids) == "x" * len(ids)
    assert detokenizer.token_ids == ids * 2
