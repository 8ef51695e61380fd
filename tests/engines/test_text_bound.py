"""A text that can never fit is known by its length; what can fit is never refused."""

from typing import Any

import pytest

from engines.base import ContextLengthExceeded, GenerateRequest, InvalidRequest, Sampling
from engines.text_bound import (
    LONG_TEXT_CHARACTERS,
    MOST_READ_TOKENS,
    TextBound,
    all_texts,
    kept_texts,
    longest_token_bytes,
    request_characters,
)

BYTE_LETTERS = [chr(266 + place) for place in range(58)] + [chr(code) for code in range(33, 127)]
FALLBACK = [f"<0x{byte:02X}>" for byte in range(256)]


def test_a_text_longer_than_context_times_longest_token_is_refused_with_its_size() -> None:
    bound = TextBound(context_tokens=100, longest_token_bytes=16)
    bound.check_characters(1600)
    with pytest.raises(ContextLengthExceeded) as refused:
        bound.check_characters(1601)
    assert (refused.value.prompt_tokens, refused.value.context_tokens) == (101, 100)
    assert "1601 characters, at least 101 tokens" in str(refused.value)


def test_nothing_is_refused_where_a_token_may_stand_for_any_text() -> None:
    TextBound(context_tokens=1, longest_token_bytes=None).check_characters(10**9)


@pytest.mark.parametrize(
    ("text", "context", "is_refused"),
    [
        ("a" * LONG_TEXT_CHARACTERS, 100, True),
        ("a" * (LONG_TEXT_CHARACTERS - 1), 100, False),
        ("a" * LONG_TEXT_CHARACTERS, LONG_TEXT_CHARACTERS // 2, False),
        (" " * LONG_TEXT_CHARACTERS, 100, False),
    ],
    ids=["far too many", "a short text", "less than twice as many", "few tokens"],
)
def test_a_long_text_of_twice_the_tokens_is_refused_before_it_is_tokenised_whole(
    text: str, context: int, is_refused: bool
) -> None:
    counted: list[str] = []

    def count(piece: str) -> int:
        counted.append(piece)
        return len(piece.strip())

    bound = TextBound(context_tokens=context, longest_token_bytes=None)
    if not is_refused:
        bound.check_tokens([text], count)
        assert "".join(counted) in ("", text)
        return
    with pytest.raises(ContextLengthExceeded) as refused:
        bound.check_tokens([text], count)
    assert refused.value.characters == len(text)
    assert context < refused.value.prompt_tokens < len(text)
    assert len(counted) == 1


def test_all_texts_of_a_chat_count_together() -> None:
    bound = TextBound(context_tokens=100, longest_token_bytes=None)
    texts = ["a" * 400] * (LONG_TEXT_CHARACTERS // 400 + 1)
    with pytest.raises(ContextLengthExceeded):
        bound.check_tokens(texts, len)
    bound.check_tokens(texts, lambda _: 256)


@pytest.mark.parametrize(
    ("characters", "context", "is_refused"),
    [
        (MOST_READ_TOKENS, 100, False),
        (2 * MOST_READ_TOKENS, 100, True),
        (2 * MOST_READ_TOKENS, MOST_READ_TOKENS, False),
        (3 * MOST_READ_TOKENS, MOST_READ_TOKENS, True),
    ],
)
def test_a_text_that_need_not_fit_is_refused_before_all_of_it_is_read(
    characters: int, context: int, is_refused: bool
) -> None:
    bound = TextBound(context_tokens=context, longest_token_bytes=1)
    read: list[str] = []

    def count(piece: str) -> int:
        read.append(piece)
        return len(piece)

    if not is_refused:
        bound.check_read(["a" * characters], count, "prompt")
        return
    with pytest.raises(InvalidRequest, match=f"{characters} characters has more than") as refused:
        bound.check_read(["a" * characters], count, "prompt")
    assert refused.value.param == "prompt"
    assert str(max(MOST_READ_TOKENS, 2 * context)) in str(refused.value.expected)
    assert sum(map(len, read)) < characters


@pytest.mark.parametrize(
    ("tokens", "longest"),
    [
        ([*BYTE_LETTERS, "Ġhello", "ðŁĺ"], 6),
        ([*FALLBACK, "▁ab"], 6),
        (["[UNK]", "##ing", "the"], None),
        (FALLBACK[:-1], None),
    ],
    ids=["byte level", "byte fallback", "word pieces", "a byte is missing"],
)
def test_the_longest_token_is_told_where_every_byte_has_one(
    tokens: list[str], longest: int | None
) -> None:
    assert longest_token_bytes(tokens) == longest


def test_what_a_template_may_leave_out_does_not_count() -> None:
    chat: list[dict[str, Any]] = [
        {"role": "system", "content": "  abc\n"},
        {"role": "assistant", "content": "<think>" * 100},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "de"},
        {"role": "user", "content": [{"type": "text", "text": "parts"}]},
    ]
    assert kept_texts(chat) == ["abc", "de", "parts"]
    assert all_texts(chat) == ["  abc\n", "<think>" * 100, "de", "parts"]
    call = {"function": {"name": "f", "arguments": "{}"}}
    own = {"role": "assistant", "content": None, "reasoning": "why", "tool_calls": [call]}
    assert all_texts([own]) == ["why", "{}"]
    sampling = Sampling(max_tokens=1)
    request = GenerateRequest(request_id="1", sampling=sampling, messages=chat)
    assert request_characters(request) == 713
    text = GenerateRequest(request_id="2", sampling=sampling, prompt="four")
    assert request_characters(text) == 4
