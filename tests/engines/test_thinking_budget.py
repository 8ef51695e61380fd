"""A thinking budget on llama.cpp's real model, whose words stand for marks; the same on a scripted
engine. tests/vllm/test_thinking_budget.py has vLLM."""

from typing import Any

import msgspec
import pytest

from engines.base import Delta, Engine, InvalidRequest, Reasoning, Structure, ThinkingBudget
from tests.support.engine_fixtures import answer, ask, count, ends, on, text

pytestmark = [pytest.mark.anyio, on("llamacpp-smollm2")]

START, END = " capital", "!"
"""Single tokens of SmolLM2, which answers "The capital of Norway is Oslo."."""
BY_TEMPLATE = Reasoning(start=START, end=END, opened_by="template")
BY_MODEL = Reasoning(start=START, end=END, opened_by="model")
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def bounded(tokens: int, **fields: Any) -> Any:
    budget = ThinkingBudget(tokens=tokens, start=START, end=END)
    return ask(**{"thinking_budget": budget, "max_tokens": 12, "ignore_eos": True, **fields})


def thinking_tokens(deltas: list[Delta], index: int = 0) -> int:
    return sum(d.reasoning_token_count for d in deltas if d.index == index)


def thought(deltas: list[Delta], index: int = 0) -> str:
    return "".join(d.reasoning for d in deltas if d.index == index)


@streamed_or_not
@pytest.mark.parametrize(
    ("tokens", "said"), [(0, ""), (1, "The"), (4, "The best of Norway"), (2**31 - 1, None)]
)
async def test_a_thought_that_the_template_began_has_no_more_tokens(
    engine: Engine, tokens: int, said: str | None, stream: bool
) -> None:
    deltas = await answer(engine, bounded(tokens, reasoning=BY_TEMPLATE, stream=stream))
    kept = min(tokens + 1, 12)
    assert (thinking_tokens(deltas), count(deltas)) == (kept, 12), "the end mark is billed"
    assert said is None or len(thought(deltas).split()) == len(said.split())
    assert bool(text(deltas)) is (said is not None)
    assert ends(deltas) == {0: ["length"]}


@streamed_or_not
@pytest.mark.parametrize("tokens", [0, 1, 3])
async def test_a_thought_that_the_model_begins_has_no_more_tokens(
    engine: Engine, tokens: int, stream: bool
) -> None:
    # A word before the thought and one behind: a longer answer may have another "!".
    request = bounded(tokens, reasoning=BY_MODEL, stream=stream, max_tokens=tokens + 4)
    deltas = await answer(engine, request)
    assert thinking_tokens(deltas) == tokens + 2, "both marks, and the budget"
    assert len(thought(deltas).split()) == tokens
    assert text(deltas).startswith("The")


async def test_each_choice_has_the_whole_budget(engine: Engine) -> None:
    deltas = await answer(engine, bounded(2, reasoning=BY_TEMPLATE, n=3, temperature=1.0, seed=1))
    assert [thinking_tokens(deltas, i) for i in range(3)] == [3, 3, 3]


async def test_no_second_thought_begins_behind_the_first(engine: Engine) -> None:
    """ " capital" is what the model says first; behind an opened prompt it is never drawn."""
    deltas = await answer(engine, bounded(0, reasoning=BY_TEMPLATE))
    assert START not in text(deltas)
    assert thinking_tokens(deltas) == 1


async def test_the_form_begins_behind_the_budget(engine: Engine) -> None:
    form = Structure(kind="choice", value=("Bergen", "Oslo"))
    request = bounded(2, reasoning=BY_TEMPLATE, structure=form, ignore_eos=False, max_tokens=40)
    deltas = await answer(engine, request)
    assert text(deltas) in ("Bergen", "Oslo")
    assert thinking_tokens(deltas) <= 4


async def test_a_raw_prompt_inside_of_a_thought_has_a_budget_too(engine: Engine) -> None:
    deltas = await answer(engine, bounded(2, prompt="Norway has a capital that"))
    said = text(deltas)
    assert len(said.partition(END)[0].split()) == 2
    assert END in said


async def test_a_request_without_a_budget_has_none(engine: Engine) -> None:
    await answer(engine, bounded(1, reasoning=BY_TEMPLATE))
    deltas = await answer(engine, ask(reasoning=BY_TEMPLATE, max_tokens=8, ignore_eos=True))
    assert thinking_tokens(deltas) == 8


@pytest.mark.parametrize("marks", [{"start": "<think>"}, {"end": "</think>"}])
async def test_marks_of_several_tokens_cannot_be_counted(
    engine: Engine, marks: dict[str, str]
) -> None:
    budget = ThinkingBudget(tokens=3, **{"start": START, "end": END, **marks})  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="no single token") as refused:
        await answer(engine, ask(reasoning=BY_TEMPLATE, thinking_budget=budget))
    assert refused.value.param == "thinking_token_budget"
    own = msgspec.structs.replace(budget, is_asked=False)
    with pytest.raises(InvalidRequest, match="thoughts are bounded here") as refused:
        await answer(engine, ask(reasoning=BY_TEMPLATE, thinking_budget=own))
    assert refused.value.param == "prompt"
