"""Texts far longer than what is kept of them are refused before a tokenizer has them whole."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from engines.base import ContextLengthExceeded, GenerateRequest, InvalidRequest, Sampling
from engines.text_bound import LONG_TEXT_CHARACTERS, MOST_READ_TOKENS, PIECE_CHARACTERS, TextBound
from engines.truncation import FIELD, Truncation
from tests.support import plain_renderers
from tests.support.plain_renderers import HI, Counting

pytestmark = pytest.mark.vllm
plain, tiny_renderer = plain_renderers.plain, plain_renderers.tiny_renderer

ENDLESS = "a b c d " * (MOST_READ_TOKENS // 4)
"""A token a byte."""


def chat(*messages: dict[str, Any], is_cut: bool) -> GenerateRequest:
    return GenerateRequest(
        request_id="1", sampling=Sampling(max_tokens=1), messages=messages, is_cut=is_cut
    )


def refused(renderer: Counting, request: GenerateRequest) -> InvalidRequest:
    renderer.by_vllm.clear()
    with pytest.raises(InvalidRequest) as refused:
        renderer.chat(request)
    assert renderer.by_vllm == []
    return refused.value


def test_a_text_that_will_be_cut_has_a_bound(tiny_renderer: Counting) -> None:
    tiny_renderer.by_vllm.clear()
    with pytest.raises(InvalidRequest, match=f"more than {MOST_READ_TOKENS} tokens") as refused:
        tiny_renderer.prompts([ENDLESS], is_cut=True)
    assert refused.value.param == FIELD
    with pytest.raises(InvalidRequest, match=f"more than {MOST_READ_TOKENS} tokens"):
        tiny_renderer.inputs(["a", ENDLESS], Truncation(8))
    assert all(ENDLESS not in asked for asked in tiny_renderer.by_vllm)
    [kept] = tiny_renderer.inputs([ENDLESS[:LONG_TEXT_CHARACTERS]], Truncation(8))
    assert len(kept["prompt_token_ids"]) == 8


def test_all_of_a_chat_counts_that_a_template_may_write(tiny_renderer: Counting) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": ENDLESS}}
    own = {"role": "assistant", "content": ENDLESS}
    for message in (
        own,
        {"role": "assistant", "content": "", "reasoning": ENDLESS},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ):
        assert refused(tiny_renderer, chat(HI, message, HI, is_cut=False)).param == "messages"
        assert refused(tiny_renderer, chat(HI, message, HI, is_cut=True)).param == FIELD
    said = {"role": "user", "content": ENDLESS}
    assert refused(tiny_renderer, chat(said, is_cut=True)).param == FIELD
    assert isinstance(refused(tiny_renderer, chat(said, is_cut=False)), ContextLengthExceeded)


class Slow:
    """A tokenizer that is a model's own code: there is no Rust in it."""

    def __init__(self) -> None:
        self.longest = 0

    def encode(self, text: str, add_special_tokens: bool) -> Sequence[int]:
        assert not add_special_tokens
        self.longest = max(self.longest, len(text))
        return range(len(text))


def test_a_models_own_tokenizer_counts_too(
    tiny_renderer: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow()
    monkeypatch.setattr(tiny_renderer, "_llm", SimpleNamespace(tokenizer=slow))
    monkeypatch.setattr(tiny_renderer, "_text_bound", TextBound(4096, None))
    with pytest.raises(ContextLengthExceeded):
        tiny_renderer.prompts([ENDLESS])
    with pytest.raises(InvalidRequest, match="more than"):
        tiny_renderer.prompts([ENDLESS], is_cut=True)
    assert slow.longest == PIECE_CHARACTERS
