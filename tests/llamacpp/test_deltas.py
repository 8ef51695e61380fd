"""llama.cpp's chunks as deltas: a thought and the calls behind it are read alike however its tokens
are merged."""

import json
import re
from collections.abc import Sequence

import pytest

from engines.answers.thinking import ThinkingSplitter
from engines.base import Delta, Reasoning
from engines.llamacpp.deltas import ChoiceReader
from engines.llamacpp.tools import MARKS, CallReader
from engines.llamacpp.wire import Chunk
from tests.support.tool_forms import CALLS, FORMS, SAYS, WORDLESS

THOUGHT = "Where? <tool\n\nOslo."
THINKING = {
    "no thought": (None, ""),
    "opened by the template": (Reasoning(opened_by="template"), f"\n{THOUGHT}</think>\n\n"),
    "opened by the model": (Reasoning(), f"<think>\n{THOUGHT}</think>\n\n"),
}
MARK_IDS = {"<think>": 1, "</think>": 2}


def tokens(said: str) -> list[tuple[str, int]]:
    """(text, id): the think marks are tokens, and so is each character."""
    found = re.findall(r"</?think>|.", said, re.DOTALL)
    return [(text, MARK_IDS.get(text, 3)) for text in found]


def read(
    parser: str, said: str, size: int, reasoning: Reasoning | None, by_id: bool
) -> list[Delta]:
    ids = (1, 2) if by_id else (None, None)
    splitter = None if reasoning is None else ThinkingSplitter(reasoning, *ids)
    reader = ChoiceReader(0, None, splitter, CallReader(*MARKS[parser]))
    made, deltas = tokens(said), list[Delta]()
    for at in range(0, len(made), size):
        some, is_last = made[at : at + size], at + size >= len(made)
        reader.add(
            Chunk(
                text="".join(text for text, _ in some),
                tokens=tuple(token_id for _, token_id in some),
                is_last=is_last,
                stop_type="eos",
                predicted=at + len(some),
            )
        )
        if (delta := reader.take()) is not None:
            deltas.append(delta)
    return deltas


def joined(deltas: Sequence[Delta], what: str) -> str:
    return "".join(getattr(delta, what) for delta in deltas)


@pytest.mark.parametrize("by_id", [True, False], ids=["marks are tokens", "marks are letters"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 19, 1000])
@pytest.mark.parametrize("thinking", THINKING)
@pytest.mark.parametrize("parser", MARKS)
def test_a_thought_and_calls_are_read_alike_however_tokens_are_merged(
    parser: str, thinking: str, size: int, by_id: bool
) -> None:
    reasoning, before = THINKING[thinking]
    deltas = read(parser, before + FORMS[parser](CALLS), size, reasoning, by_id)
    calls = [call for delta in deltas for call in delta.tool_calls]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("weather", arguments) for arguments in CALLS
    ]
    assert joined(deltas, "reasoning") == (THOUGHT if before else "")
    assert joined(deltas, "text").strip() == ("" if parser in WORDLESS else SAYS.strip())
    assert deltas[-1].finish_reason == "tool_calls"
