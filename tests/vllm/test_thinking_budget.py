"""A thinking budget on the real engine: a tiny random Qwen3 with Qwen3's tokenizer and template,
which would think for ever: a bias lets it draw words alone."""

from typing import Any

import pytest
from tokenizers import Tokenizer

from engines.base import (
    Delta,
    Engine,
    InvalidRequest,
    Reasoning,
    Sink,
    Structure,
    ThinkingBudget,
)
from tests.support.engine_fixtures import answer, ask, count, ends, on
from tests.support.paths import QWEN3_TOKENIZER as FOLDER

OPEN, CLOSE = "<think>", "</think>"
WORDS = (" Oslo", " Norway")
BY_TEMPLATE, BY_MODEL = Reasoning(opened_by="template"), Reasoning(opened_by="model")
THINKING = {"enable_thinking": True}
FORM = Structure(kind="choice", value=("Oslo", "Bergen"))

pytestmark = [pytest.mark.anyio, on("vllm-qwen3")]
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
budgets = pytest.mark.parametrize("tokens", [0, 1, 2, 7])


@pytest.fixture(scope="module")
def ids() -> dict[str, int]:
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    found = {t: tokenizer.encode(t, add_special_tokens=False).ids for t in (OPEN, CLOSE, *WORDS)}
    assert all(len(each) == 1 for each in found.values())
    return {text: each[0] for text, each in found.items()}


def thinks(ids: dict[str, int], tokens: int | None, **fields: Any) -> Any:
    """A request whose answer draws two words alone, and from which no thought ever ends."""
    budget = None if tokens is None else ThinkingBudget(tokens=tokens)
    bias = {ids[word]: 60.0 for word in WORDS}
    usual: dict[str, Any] = {"max_tokens": 20, "ignore_eos": True, "temperature": 1.0, "seed": 3}
    return ask(**{**usual, "logit_bias": bias, "thinking_budget": budget, **fields})


def thinking_tokens(deltas: list[Delta], index: int = 0) -> int:
    return sum(d.reasoning_token_count for d in deltas if d.index == index)


def words(deltas: list[Delta], index: int = 0) -> tuple[int, int]:
    """Of the thought and of the answer."""
    thought = "".join(d.reasoning for d in deltas if d.index == index)
    text = "".join(d.text for d in deltas if d.index == index)
    return len(thought.split()), len(text.split())


@streamed_or_not
@budgets
async def test_a_thought_has_no_more_tokens_than_its_budget(
    engine: Engine, ids: dict[str, int], tokens: int, stream: bool
) -> None:
    # Qwen3's template leaves it to the model to begin: its prompt is gone on with.
    begun = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": OPEN}]
    request = thinks(
        ids, tokens, messages=begun, prompt_end="inside_message", reasoning=BY_TEMPLATE,
        stream=stream,
    )  # fmt: skip
    deltas = await answer(engine, request)
    assert words(deltas) == (tokens, 20 - tokens - 1)
    assert thinking_tokens(deltas) == tokens + 1, "the end mark is billed as thought"
    assert count(deltas) == 20


@streamed_or_not
@budgets
async def test_a_thought_that_the_model_begins_has_the_same_budget(
    engine: Engine, ids: dict[str, int], tokens: int, stream: bool
) -> None:
    bias = {ids[text]: 60.0 for text in (OPEN, *WORDS)}
    request = thinks(
        ids, tokens, reasoning=BY_MODEL, logit_bias=bias, n=8, logprobs=0, stream=stream,
        max_tokens=40,
    )  # fmt: skip
    deltas = await answer(engine, request)
    thoughts = [t for i in range(8) for t in closed_thoughts(drawn(deltas, i))]
    assert len(thoughts) > 4
    assert {len(each) for each in thoughts if OPEN not in each} == {tokens}
    assert max(map(len, thoughts)) == tokens


def drawn(deltas: list[Delta], index: int) -> list[str]:
    return [token.token for d in deltas if d.index == index for token in d.logprobs]


def closed_thoughts(tokens: list[str]) -> list[list[str]]:
    """What stands between each end mark, which was never drawn freely, and its start."""
    parts = "\0".join(tokens).split(CLOSE)[:-1]
    inside = [part.partition(OPEN)[2].strip("\0") for part in parts]
    return [each.split("\0") if each else [] for each in inside]


@streamed_or_not
async def test_the_form_begins_behind_the_budget(
    engine: Engine, ids: dict[str, int], stream: bool
) -> None:
    begun = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": OPEN}]
    request = thinks(
        ids, 3, messages=begun, prompt_end="inside_message", reasoning=BY_TEMPLATE, logit_bias={},
        structure=FORM, ignore_eos=False, max_tokens=60, stream=stream,
    )  # fmt: skip
    deltas = await answer(engine, request)
    assert "".join(d.text for d in deltas) in ("Oslo", "Bergen")
    assert thinking_tokens(deltas) <= 4


async def test_each_choice_has_the_whole_budget(engine: Engine, ids: dict[str, int]) -> None:
    begun = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": OPEN}]
    request = thinks(
        ids, 4, messages=begun, prompt_end="inside_message", reasoning=BY_TEMPLATE, n=3
    )
    deltas = await answer(engine, request)
    assert [thinking_tokens(deltas, i) for i in range(3)] == [5, 5, 5]
    assert ends(deltas) == {i: ["length"] for i in range(3)}


async def test_the_fast_path_has_it_too(engine: Engine, ids: dict[str, int]) -> None:
    begun = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": OPEN}]
    for tokens in (None, 5, None, 2):
        request = thinks(
            ids, tokens, messages=begun, prompt_end="inside_message", reasoning=BY_TEMPLATE
        )
        reader = Taking()
        prompt = await engine.render(request)
        async for delta in engine.generate(request, prompt, reader):
            reader.deltas.append(delta)
        assert reader.taken, "nothing went the short way"
        assert thinking_tokens(reader.deltas) == (20 if tokens is None else tokens + 1)


class Taking(Sink):
    """A Sink that is always ready once there was a delta."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.taken = 0

    def is_ready(self) -> bool:
        return bool(self.deltas)

    def take(self, delta: Delta) -> None:
        self.deltas.append(delta)
        self.taken += 1


async def test_a_raw_prompt_inside_of_a_thought_has_one_too(
    engine: Engine, ids: dict[str, int]
) -> None:
    raw = f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{OPEN}\nWell, well"
    deltas = await answer(engine, thinks(ids, 3, prompt=raw))
    said = "".join(d.text for d in deltas)
    assert len(said.partition(CLOSE)[0].split()) == 3
    assert CLOSE in said


@pytest.mark.parametrize(
    ("messages", "budget", "told"),
    [
        ([{"role": "user", "content": f"What is {OPEN}?"}], ThinkingBudget(tokens=3), "never ends"),
        ([{"role": "user", "content": "Hi"}], ThinkingBudget(tokens=3, end="Oslo is"), "single"),
        ([{"role": "user", "content": "Hi"}], ThinkingBudget(tokens=3, end=" Oslo"), "started"),
    ],
)
async def test_what_cannot_be_counted_is_refused(
    engine: Engine, messages: Any, budget: ThinkingBudget, told: str
) -> None:
    request = ask(messages=messages, reasoning=BY_MODEL, thinking_budget=budget)
    with pytest.raises(InvalidRequest, match=told) as refused:
        await answer(engine, request)
    assert refused.value.param == "thinking_token_budget"
