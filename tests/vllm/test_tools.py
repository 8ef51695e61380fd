"""Calls in models' own formats are read alike however a stream's tokens are merged."""

import importlib
import json
import warnings
from collections.abc import Sequence
from typing import Any

import pytest

from engines.base import GenerateRequest, Prompt, Sampling, Tool
from engines.testing.tiny import make_llama
from engines.vllm.split_deltas import SplitDeltas
from engines.vllm.vocabulary import Vocabulary

CALLS = [{"city": "Oslo", "days": 3}, {"city": "Ber gen 🎉 {x} ` y", "days": 4}]
SAYS = "I look.\n"
WEATHER = Tool(
    name="weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
)
MARKS = (
    *("<tool_call>", "</tool_call>", "<|python_tag|>"),
    *("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>"),
    *("<|tool_call_end|>", "<|tool_call_argument_begin|>", "<｜tool▁calls▁begin｜>"),
    *("<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
)
"""Single tokens in the tokenizers of the models that use them."""


def hermes(calls: Sequence[Any]) -> str:
    said = (json.dumps({"name": "weather", "arguments": c}, ensure_ascii=False) for c in calls)
    return SAYS + "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in said)


def qwen3_coder(calls: Sequence[Any]) -> str:
    def call(arguments: Any) -> str:
        given = (f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in arguments.items())
        return f"<tool_call>\n<function=weather>\n{''.join(given)}</function>\n</tool_call>"

    return SAYS + "\n".join(call(arguments) for arguments in calls)


def llama3_json(calls: Sequence[Any]) -> str:
    said = (json.dumps({"name": "weather", "parameters": c}, ensure_ascii=False) for c in calls)
    return "; ".join(said)


def kimi_k2(calls: Sequence[Any]) -> str:
    said = (
        f"<|tool_call_begin|>functions.weather:{i}<|tool_call_argument_begin|>"
        f"{json.dumps(arguments, ensure_ascii=False)}<|tool_call_end|>"
        for i, arguments in enumerate(calls)
    )
    return f"{SAYS}<|tool_calls_section_begin|>{''.join(said)}<|tool_calls_section_end|>"


def deepseek_v3(calls: Sequence[Any]) -> str:
    said = (
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
        f"```json\n{json.dumps(arguments, ensure_ascii=False)}\n```<｜tool▁call▁end｜>"
        for arguments in calls
    )
    return f"{SAYS}<｜tool▁calls▁begin｜>{chr(10).join(said)}<｜tool▁calls▁end｜>"


FORMATS = (hermes, qwen3_coder, llama3_json, kimi_k2, deepseek_v3)
SIZES = (1, 2, 3, 5, 8, 13, 21, 34, 1000)


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


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", FORMATS, ids=lambda f: f.__name__)
def test_calls_are_read_alike_however_tokens_are_merged(
    tokenizer: Any, form: Any, size: int
) -> None:
    from engines.vllm.tools import AutoCalls, ToolReading

    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=1),
        messages=[{"role": "user", "content": "x"}],
        tools=(WEATHER,),
        tool_parser=form.__name__,
    )
    reading = ToolReading(request, Prompt(token_ids=[1]), tokenizer)
    calls = AutoCalls(reading, Vocabulary(tokenizer))
    parts = deltas(tokenizer, form(CALLS), size)
    content, names, arguments = "", [], {0: "", 1: ""}
    for number, (text, ids) in enumerate(parts, 1):
        more, found = calls.feed(text, ids, number == len(parts))
        content += more
        assert len({call.index for call in found}) == len(found)
        for call in found:
            names += [call.name] if call.name else []
            arguments[call.index] += call.arguments
    assert content.strip() == ("" if form is llama3_json else SAYS.strip())
    assert names == ["weather", "weather"]
    assert [json.loads(arguments[index]) for index in (0, 1)] == CALLS


@pytest.mark.vllm
@pytest.mark.usefixtures("parsers")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("form", [hermes, llama3_json], ids=lambda f: f.__name__)
def test_a_call_without_arguments_has_an_empty_object(
    tokenizer: Any, form: Any, stream: bool
) -> None:
    from engines.vllm.tools import AutoCalls, ToolReading

    request = GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=1),
        messages=[{"role": "user", "content": "x"}],
        tools=(WEATHER,),
        tool_parser=form.__name__,
        stream=stream,
    )
    calls = AutoCalls(ToolReading(request, Prompt(token_ids=[1]), tokenizer), Vocabulary(tokenizer))
    parts = deltas(tokenizer, form([{}]), 3 if stream else 10_000)
    found = [
        call
        for number, (text, ids) in enumerate(parts, 1)
        for call in calls.feed(text, ids, number == len(parts))[1]
    ]
    assert [call.name for call in found if call.name] == ["weather"]
    assert "".join(call.arguments for call in found) == "{}"


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
