"""Stop strings in the answer alone: found wherever deltas cut them, and never in a thought."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from engines.answers.answer_stops import is_searched, stopped, without_stops
from engines.base import Delta, GenerateRequest, Reasoning, Sampling, Tool, ToolCallDelta

pytestmark = pytest.mark.anyio


def sampling(*stop: str, **fields: Any) -> Sampling:
    return Sampling(max_tokens=99, stop=stop, **fields)


def deltas(*texts: str, index: int = 0) -> list[Delta]:
    last = Delta(index, token_count=1, finish_reason="length")
    return [*(Delta(index, text, 1) for text in texts), last]


class Source:
    """An engine's deltas; whether they were closed, and how many were read."""

    def __init__(self, given: Sequence[Delta]) -> None:
        self.given = given
        self.read = 0
        self.is_closed = False

    async def generate(self) -> AsyncGenerator[Delta, None]:
        try:
            for delta in self.given:
                self.read += 1
                yield delta
        finally:
            self.is_closed = True


async def said(source: Source, s: Sampling) -> tuple[str, list[str]]:
    found = [d async for d in stopped(source.generate(), s)]
    assert source.is_closed
    return "".join(d.text for d in found), [d.finish_reason for d in found if d.finish_reason]


@pytest.mark.parametrize("cut", range(1, 12))
async def test_it_is_found_however_the_text_is_cut(cut: int) -> None:
    text = "one, two###three"
    source = Source(deltas(*(text[i : i + cut] for i in range(0, len(text), cut))))
    assert await said(source, sampling("###")) == ("one, two", ["stop"])
    source = Source(deltas(*(text[i : i + cut] for i in range(0, len(text), cut))))
    assert await said(source, sampling("###", includes_stop_string=True)) == (
        "one, two###",
        ["stop"],
    )


async def test_the_first_of_several_counts_and_ends_the_generation() -> None:
    source = Source(deltas("a", "b", "c", "d", "e", "f"))
    assert await said(source, sampling("e", "bc", "zz")) == ("a", ["stop"])
    assert source.read == 3
    for asked, told in ((False, None), (True, "bc")):
        searched = stopped(source.generate(), sampling("e", "bc", "bcd", tells_stop=asked))
        assert [delta.stop async for delta in searched][-1] == told


async def test_what_only_begins_like_one_is_said_in_the_end() -> None:
    assert await said(Source(deltas("a#", "#", "b#")), sampling("###")) == ("a##b#", ["length"])


async def test_a_thought_may_hold_it() -> None:
    thought = Delta(0, token_count=3, reasoning="a ### b", reasoning_token_count=3)
    source = Source([thought, *deltas("c###d")])
    assert await said(source, sampling("###")) == ("c", ["stop"])


async def test_no_end_comes_before_min_tokens() -> None:
    source = Source(deltas("#", "#", "#", "a", "#", "b"))
    assert await said(source, sampling("#", min_tokens=3)) == ("###a", ["stop"])


async def test_each_choice_ends_for_itself() -> None:
    first, second = deltas("a", "#", "never"), deltas("b", "c", "d", index=1)
    source = Source([d for pair in zip(first, second, strict=True) for d in pair])
    found = [d async for d in stopped(source.generate(), sampling("#", n=2))]
    assert ["".join(d.text for d in found if d.index == i) for i in (0, 1)] == ["a", "bcd"]
    assert [(d.index, d.finish_reason) for d in found if d.finish_reason] == [
        (0, "stop"),
        (1, "length"),
    ]


async def test_an_answer_that_called_a_tool_says_so() -> None:
    call = Delta(0, token_count=1, tool_calls=(ToolCallDelta(0, "id", "f", "{}"),))
    assert await said(Source([call, *deltas("a#b")]), sampling("#")) == ("a", ["tool_calls"])


def test_the_engine_looks_itself_where_there_is_no_thought() -> None:
    request = GenerateRequest(request_id="r", sampling=sampling("#"), prompt="x", stream=False)
    assert not is_searched(request)
    thinking = replace(request, reasoning=Reasoning())
    included = replace(request, sampling=sampling("#", includes_stop_string=True))
    for searched in (thinking, included):
        assert is_searched(searched)
        asked = without_stops(searched)
        assert (asked.sampling.stop, asked.sampling.includes_stop_string) == ((), False)
        assert asked.stream, "else it would go on to its length"
    assert not is_searched(replace(thinking, sampling=sampling()))


@pytest.mark.parametrize(
    ("fields", "is_called"),
    [
        ({}, True),
        ({"tool_choice": "required"}, True),
        ({"tool_choice": "none"}, False),
        ({"tool_parser": None}, False),
        ({"tools": ()}, False),
    ],
)
def test_a_call_may_hold_it(fields: dict[str, Any], is_called: bool) -> None:
    asked: dict[str, Any] = {"tools": (Tool(name="f"),), "tool_parser": "hermes"} | fields
    request = GenerateRequest(request_id="r", sampling=sampling("\n"), prompt="x", **asked)
    assert is_searched(request) is is_called
