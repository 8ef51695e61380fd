"""Prompts that are read for their own sake: their log probabilities, nothing said, cut texts."""

import math
from typing import Any

import pytest

from engines.base import ContextLengthExceeded, Engine, InvalidRequest
from engines.text_bound import MOST_READ_TOKENS
from engines.truncation import FIELD
from engines.vllm.vocabulary import BYTE_OF_LETTER
from tests.support.engine_fixtures import EngineCase, answer, ask, count, ends, on, text

pytestmark = [
    pytest.mark.anyio,
    on("scripted", "llamacpp-smollm2", "vllm-tiny", "vllm-tiny-public"),
]
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
PROMPT = "Once upon a time there was a fjord, deep and cøld."


def tells_prompts(case: EngineCase) -> bool:
    return not case.name.startswith("llamacpp")


@streamed_or_not
@pytest.mark.parametrize("n", [1, 3])
async def test_a_prompt_may_be_read_alone(engine: Engine, stream: bool, n: int) -> None:
    temperature = 1.0 if n > 1 else 0.0
    request = ask(prompt=PROMPT, max_tokens=0, stream=stream, n=n, temperature=temperature)
    deltas = await answer(engine, request)
    assert (count(deltas), text(deltas)) == (0, "")
    assert ends(deltas) == {i: ["length"] for i in range(n)}


@streamed_or_not
@pytest.mark.parametrize("top", [0, 1, 5])
@pytest.mark.parametrize("n", [1, 2])
async def test_every_token_of_a_prompt_has_its_log_probability(
    engine: Engine, engine_case: EngineCase, stream: bool, top: int, n: int
) -> None:
    if not tells_prompts(engine_case):
        pytest.skip("refuses it, as the test below says")
    request = ask(
        prompt=PROMPT, prompt_logprobs=top, max_tokens=3, stream=stream, n=n, ignore_eos=True,
        temperature=1.0, seed=1,
    )  # fmt: skip
    prompt = await engine.render(request)
    deltas = await answer(engine, request)
    firsts = {d.index: d for d in reversed(deltas)}
    assert sorted(firsts) == list(range(n))
    assert {d.index for d in deltas if d.prompt_logprobs} == set(firsts)
    for told in (d.prompt_logprobs for d in firsts.values()):
        assert len(told) == prompt.token_count
        assert b"".join(bytes(x.bytes) for x in told).decode() == PROMPT
        for x in told[1:]:
            assert x.logprob <= 0
            assert len(x.top) == top
            assert [t.logprob for t in x.top] == sorted((t.logprob for t in x.top), reverse=True)
    assert count(deltas) == 3 * n


async def test_a_prompt_is_as_likely_as_it_was_when_it_was_generated(
    engine: Engine, engine_case: EngineCase
) -> None:
    if not engine_case.name.startswith("vllm"):
        pytest.skip("no model is behind its numbers, or it has none")
    drawn = await answer(
        engine, ask(prompt=PROMPT, logprobs=1, max_tokens=12, ignore_eos=True, temperature=0.0)
    )
    own = [x for d in drawn for x in d.logprobs]
    said = b"".join(bytes(x.bytes) for x in own)
    begun = list((await engine.render(ask(prompt=PROMPT))).token_ids)
    ids = [*begun, *_bytes_as_tokens(said)]
    again = await answer(engine, ask(prompt=ids, prompt_logprobs=1, max_tokens=0))
    told = again[0].prompt_logprobs[len(begun) :]
    for x, y in zip(told, own, strict=True):
        assert math.isclose(x.logprob, y.logprob, abs_tol=0.02)
        assert x.top[0].token == y.top[0].token


def _bytes_as_tokens(said: bytes) -> list[int]:
    """The tiny model's vocabulary is the 256 bytes, in the order of their letters."""
    letters = sorted(BYTE_OF_LETTER)
    by_byte = {BYTE_OF_LETTER[letter]: i for i, letter in enumerate(letters)}
    return [by_byte[byte] for byte in said]


@streamed_or_not
async def test_llamacpp_tells_none(engine: Engine, engine_case: EngineCase, stream: bool) -> None:
    if tells_prompts(engine_case):
        pytest.skip("it does")
    with pytest.raises(InvalidRequest, match="vLLM") as refused:
        await answer(engine, ask(prompt=PROMPT, prompt_logprobs=0, stream=stream))
    assert refused.value.param == "echo"


async def test_a_text_that_will_be_cut_may_be_longer_than_any_that_fits(
    engine: Engine, engine_case: EngineCase
) -> None:
    long = "The fjord is deep. " * (60_000 if engine_case.name == "scripted" else 27_000)
    for fields in _both(long):
        prompt = await engine.render(ask(**fields, is_cut=True))
        assert prompt.token_count > engine.context_tokens
    if engine_case.name != "scripted":  # has no bound of a text
        for fields in _both(long * 3):
            with pytest.raises(ContextLengthExceeded):
                await engine.render(ask(**fields))


def _both(text: str) -> tuple[dict[str, Any], ...]:
    return {"prompt": text}, {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("role", ["user", "assistant"])
async def test_a_text_of_far_too_many_tokens_is_not_read_to_be_cut(
    engine: Engine, engine_case: EngineCase, role: str
) -> None:
    if engine_case.name == "scripted":
        pytest.skip("it has no bound of a text")
    endless = "a b c d e f g h " * (MOST_READ_TOKENS // 4)
    said = [{"role": "user", "content": "Hi"}, {"role": role, "content": endless}]
    for fields in ({"prompt": endless}, {"messages": said}):
        with pytest.raises(InvalidRequest, match=r"has more than [0-9]+ tokens") as refused:
            await engine.render(ask(**fields, is_cut=True))
        assert refused.value.param == FIELD
    with pytest.raises(InvalidRequest):
        await engine.render(ask(messages=[*said, {"role": "user", "content": "On"}]))
