"""Calls in models' own formats are read alike however a stream's tokens are merged."""

import importlib
import json
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest

from engines.answers.guided_calls import CLOSE, OPEN
from engines.answers.tool_parsers import found_parsers
from engines.base import GenerateRequest, Prompt, Reasoning, Sampling, Tool
from engines.registry.registry import load_registry
from engines.testing.tiny import make_llama
from engines.vllm.split_deltas import SplitDeltas
from engines.vllm.vocabulary import Vocabulary
from tests.support.paths import ROOT
from tests.support.tool_forms import CALLS, FORMS, MARKS, SAYS, SINGLE, WORDLESS

WEATHER = Tool(
    name="weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
)
SIZES = (1, 2, 3, 5, 8, 13, 21, 34, 1000)
THOUGHT = "Where? <tool 🎉\n\nOslo."
THINKING = {
    "no thought": (None, ""),
    "opened by the template": (Reasoning(opened_by="template"), f"\n{THOUGHT}</think>\n\n"),
    "opened by the model": (Reasoning(), f"<think>\n{THOUGHT}</think>\n\n"),
    "marks of many tokens": (
        Reasoning(start="<mull>", end="</mull>"),
        f"<mull>\n{THOUGHT}</mull>\n\n",
    ),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import PreTrainedTokenizerFast  # 1 s: not while tests are collected

    folder = make_llama(tmp_path_factory.mktemp("tiny"))
    made: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    made.add_special_tokens({"additional_special_tokens": list(MARKS)})
    return made


@pytest.fixture(scope="module")
def parsers() -> None:
    """Imports them: vLLM's libraries warn while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("vllm.parser")


def deltas(tokenizer: Any, text: str, size: int) -> list[tuple[str, list[int]]]:
    """As an engine hands them over: text never ends inside a character."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    found, shown = [], ""
    for at in range(0, len(ids), size):
        so_far = tokenizer.decode(ids[: at + size]).rstrip("\ufffd")
        found.append((so_far[len(shown) :], ids[at : at + size]))
        shown = so_far
    assert shown == text
    return found


@dataclass
class Read:
    """All that an answer's deltas hold."""

    text: str = ""
    thought: str = ""
    thought_tokens: int = 0
    names: list[str] = field(default_factory=list)
    arguments: dict[int, str] = field(default_factory=dict)
    finish_reason: str | None = None


def read(tokenizer: Any, parser: str, said: str, size: int | None, **fields: Any) -> Read:
    """`size`: tokens a delta of the stream; None: the answer is whole."""
    from engines.vllm.deltas import Choices
    from engines.vllm.tools import ToolReading

    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=1),
        messages=[{"role": "user", "content": "x"}],
        tools=(WEATHER,),
        tool_parser=parser,
        stream=size is not None,
        **fields,
    )
    reading = ToolReading(request, Prompt(token_ids=[1]), tokenizer)
    choices, found = Choices(request, Vocabulary(tokenizer), reading), Read()
    parts = deltas(tokenizer, said, size or 100_000)
    for number, (text, ids) in enumerate(parts, 1):
        _add(found, choices.piece(text, ids, "stop" if number == len(parts) else None))
    return found


def _add(found: Read, delta: Any) -> None:
    found.text += delta.text
    found.thought += delta.reasoning
    found.thought_tokens += delta.reasoning_token_count
    found.finish_reason = delta.finish_reason
    assert len({call.index for call in delta.tool_calls}) == len(delta.tool_calls)
    for call in delta.tool_calls:
        found.names += [call.name] if call.name else []
        found.arguments[call.index] = found.arguments.get(call.index, "") + call.arguments


def thought_tokens(tokenizer: Any, before: str) -> int:
    """A start mark of many tokens is one once its last has come."""
    counted = before.removesuffix("\n\n").replace("<mull>", ">")
    return len(tokenizer.encode(counted, add_special_tokens=False))


@pytest.mark.vllm
def test_every_parser_that_is_found_or_shipped_is_read_here() -> None:
    shipped = load_registry(ROOT / "model_registry.yaml", "cuda").models.values()
    named = {model.call_parser for model in shipped} - {None, "found"}
    assert found_parsers() | named == FORMS.keys()


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("size", [*SIZES, None], ids=lambda size: str(size or "whole"))
@pytest.mark.parametrize("thinking", THINKING)
@pytest.mark.parametrize("parser", FORMS)
def test_calls_are_read_alike_however_tokens_are_merged(
    tokenizer: Any, parser: str, thinking: str, size: int | None
) -> None:
    reasoning, before = THINKING[thinking]
    said = before + FORMS[parser](CALLS)
    found = read(tokenizer, parser, said, size, reasoning=reasoning)
    made = CALLS[:1] if parser in SINGLE else CALLS
    assert found.names == ["weather"] * len(made)
    assert [json.loads(found.arguments[index]) for index in range(len(made))] == list(made)
    assert found.text.strip() == ("" if parser in WORDLESS else SAYS.strip())
    assert found.thought == (THOUGHT if before else "")
    assert found.thought_tokens == thought_tokens(tokenizer, before)
    assert found.finish_reason == "tool_calls"


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("size", [*SIZES, None], ids=lambda size: str(size or "whole"))
@pytest.mark.parametrize("thinking", THINKING)
@pytest.mark.parametrize("parser", FORMS)
def test_an_answer_in_words_is_read_alike_however_tokens_are_merged(
    tokenizer: Any, parser: str, thinking: str, size: int | None
) -> None:
    reasoning, before = THINKING[thinking]
    found = read(tokenizer, parser, f"{before}1 < 2, <to 🎉", size, reasoning=reasoning)
    assert (found.text, found.thought) == ("1 < 2, <to 🎉", THOUGHT if before else "")
    assert (found.names, found.finish_reason) == ([], "stop")


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("size", [*SIZES, None], ids=lambda size: str(size or "whole"))
def test_a_call_that_our_grammar_holds_is_read(tokenizer: Any, size: int | None) -> None:
    """It has no spaces between its members."""
    said = [
        json.dumps({"name": "weather", "arguments": call}, separators=(",", ":")) for call in CALLS
    ]
    marked = "".join(f"I look.{OPEN}{each}{CLOSE}" for each in said)
    found = read(tokenizer, "hermes", marked, size)
    assert [json.loads(found.arguments[index]) for index in (0, 1)] == list(CALLS)


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("size", [3, None])
@pytest.mark.parametrize("parser", FORMS)
def test_a_call_without_arguments_has_an_empty_object(
    tokenizer: Any, parser: str, size: int | None
) -> None:
    found = read(tokenizer, parser, FORMS[parser]([{}]), size)
    assert found.names == ["weather"]
    assert found.arguments == {0: "{}"}


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("size", [1, 8, 1000, None])
@pytest.mark.parametrize("parser", sorted(FORMS.keys() - SINGLE))
def test_without_parallel_calls_the_first_alone_goes_out(
    tokenizer: Any, parser: str, size: int | None
) -> None:
    found = read(tokenizer, parser, FORMS[parser](CALLS), size, parallel_tool_calls=False)
    assert found.names == ["weather"]
    assert json.loads(found.arguments[0]) == CALLS[0]
    assert found.arguments.keys() == {0}


@pytest.mark.vllm
@pytest.mark.parametrize("size", SIZES)
def test_a_merged_delta_comes_apart_into_its_tokens(tokenizer: Any, size: int) -> None:
    text = "Hei på deg 🎉👩‍🔬 漢字<tool_call>x</tool_call>\n"
    pieces = SplitDeltas(Vocabulary(tokenizer))
    parts = deltas(tokenizer, text, size)
    found = [list(pieces.split(*part)) for part in parts]
    for (said, ids), apart in zip(parts, found, strict=True):
        assert "".join(piece for piece, _ in apart) == said
        assert [i for _, some in apart for i in some] == ids
    many = [piece for apart in found for piece, _ in apart if len(piece) > 1 and piece[0] != "<"]
    assert not any(mark in piece for piece in many for mark in ("<tool_call>", "</tool_call>"))


@pytest.mark.vllm
def test_a_hidden_token_goes_with_the_next_and_text_that_shows_no_tokens_stays_whole(
    tokenizer: Any,
) -> None:
    pieces = SplitDeltas(Vocabulary(tokenizer))
    mark, a, b = (
        tokenizer.encode(x, add_special_tokens=False)[0] for x in ("<tool_call>", "a", "b")
    )
    assert list(pieces.split("ab", [a, mark, b])) == [("a", [a]), ("b", [mark, b])]
    assert list(pieces.split("xyz", [a, b])) == [("xyz", [a, b])]
    assert list(pieces.split("", [mark])) == [("", [mark])]
    assert list(pieces.split("", [])) == [("", [])]
    assert list(pieces.split("ab", [a, b])) == [("a", [a]), ("b", [b])]
