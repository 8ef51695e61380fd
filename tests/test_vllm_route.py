"""The short way of a stream's tokens: when it is taken, and that order and text stay."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from engines.base import Delta
from engines.tiny import make_llama
from engines.vllm_lane import Lane
from engines.vllm_route import Router
from engines.vllm_vocabulary import Vocabulary
from engines.vllm_words import Words


@dataclass
class Output:
    """As much of vLLM's EngineCoreOutput as is looked at."""

    request_id: str
    new_token_ids: list[int]
    finish_reason: str | None = None


@dataclass
class Stream:
    """One request: vLLM's collector, the text, the choices and our reader in one."""

    output: Any = None
    short: list[list[int]] = field(default_factory=list)
    long: list[list[int]] = field(default_factory=list)
    ready: bool = True
    fails: bool = False

    def is_ready(self) -> bool:
        return self.ready

    def of(self, ids: list[int]) -> str:
        return str(ids)

    def piece(self, text: str, ids: list[int]) -> Delta:
        assert text == str(ids)
        self.short.append(ids)
        return Delta(0, text, len(ids))

    def take(self, delta: Delta) -> None:
        if self.fails:
            raise RuntimeError("this reader is broken")

    def put(self, error: Exception) -> None:
        self.output = error


class Engine:
    """vLLM's output processor, the long way, with a router before it."""

    def __init__(self, *names: str) -> None:
        self.streams = {name: Stream() for name in names}
        processor: Any = SimpleNamespace(process_outputs=self.process_outputs)
        self.router = Router(processor)
        self.processor = processor
        for name, stream in self.streams.items():
            made: Any = stream
            self.router.begin(name, Lane(made, made, made, stream))

    def process_outputs(self, outputs: Sequence[Output], stamp: float) -> str:
        assert stamp == 1.0
        for output in outputs:
            self.streams[output.request_id].long.append(output.new_token_ids)
        return "vLLM's own"

    def send(self, *outputs: Output) -> None:
        assert self.processor.process_outputs(list(outputs), 1.0) == "vLLM's own"


def test_the_first_and_the_last_go_long_and_those_between_short() -> None:
    engine = Engine("a")
    for ids in ([1], [2, 3], [4]):
        engine.send(Output("a", ids))
    engine.send(Output("a", [5], "stop"))
    assert engine.streams["a"].long == [[1], [5]]
    assert engine.streams["a"].short == [[2, 3], [4]]
    assert engine.router.tokens == 3


def test_a_request_without_a_lane_goes_long() -> None:
    engine = Engine("a", "b")
    engine.router.end("b")
    engine.router.end("b")
    for _ in range(3):
        engine.send(Output("a", [1]), Output("b", [1]))
    assert (len(engine.streams["a"].long), len(engine.streams["b"].long)) == (1, 3)


@pytest.mark.parametrize("why", ["unread", "not ready"])
def test_a_reader_that_is_behind_gets_the_same_tokens_the_long_way(why: str) -> None:
    engine = Engine("a")
    stream = engine.streams["a"]
    engine.send(Output("a", [1]))
    stream.output, stream.ready = ("an output", True) if why == "unread" else (None, False)
    engine.send(Output("a", [2]))
    stream.output, stream.ready = None, True
    engine.send(Output("a", [3]))
    assert (stream.long, stream.short) == ([[1], [2]], [[3]])


def test_a_broken_reader_fails_alone() -> None:
    engine = Engine("a", "b")
    engine.streams["a"].fails = True
    for number in range(3):
        engine.send(Output("a", [number]), Output("b", [number]))
    assert isinstance(engine.streams["a"].output, RuntimeError)
    assert engine.streams["b"].short == [[1], [2]]


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


def in_groups(words: Words, ids: list[int], drawn: random.Random) -> str:
    text, rest = "", list(ids)
    while rest:
        count = drawn.randint(1, 6)
        text += words.of(rest[:count])
        rest = rest[count:]
    return text


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
        text = in_groups(Words(grouped, vocabulary), ids, drawn)
        text += grouped.get_next_output_text(True, True)
        assert text == alone.get_next_output_text(True, True)
        assert grouped.token_ids == ids


def test_most_groups_of_plain_text_take_one_step(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer.backend_tokenizer)
    ids = tokenizer.encode("the fjord is deep and cold " * 20, add_special_tokens=False)
    in_groups(Words(detokenizer, Vocabulary(tokenizer)), ids, random.Random(1))
    assert detokenizer.updates == 0


def test_text_is_not_kept_back_by_half_a_character(tokenizer: Any) -> None:
    detokenizer = Detokenizer(tokenizer.backend_tokenizer)
    ids = tokenizer.encode("so 🙂", add_special_tokens=False)
    assert Words(detokenizer, Vocabulary(tokenizer)).of(ids[:-1]) == "so "


def test_a_stream_that_is_out_of_step_falls_back(tokenizer: Any) -> None:
    class Broken:
        def step(self, tokenizer: Any, ids: Any) -> str:
            if isinstance(ids, list):
                raise TypeError("only single ids")
            return "x"

    detokenizer = Detokenizer(tokenizer.backend_tokenizer)
    detokenizer.stream = Broken()
    ids = tokenizer.encode("abc", add_special_tokens=False)
    words = Words(detokenizer, Vocabulary(tokenizer))
    assert words.of(ids) == "x" * len(ids)
    assert words.of(ids) == "x" * len(ids)
    assert detokenizer.token_ids == ids * 2
