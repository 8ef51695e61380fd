"""Long texts in pieces: nothing lost, cut only where llama.cpp cuts too."""

import pytest

from engines.llamacpp.text_pieces import TextPieces, certain_cuts

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<mask>", "", "\n\n"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        "a" * 1000,
        "<|im_end|>" * 100,
        "x<|im_start|>y\n\n" * 50,
        "<|im_start|" * 100,
        "a" * 95 + "<|im_end|>" + "b" * 300 + "<|im_start|>",
    ],
)
def test_the_pieces_are_the_text_and_each_begins_with_a_special_token(text: str) -> None:
    pieces = list(TextPieces(SPECIAL, size=32).of(text))
    assert "".join(pieces) == text
    assert all(piece.startswith(("<|im_start|>", "<|im_end|>")) for piece in pieces[1:])
    assert all(len(piece) >= 32 for piece in pieces[:-1])


def test_no_piece_of_many_special_tokens_is_long() -> None:
    pieces = list(TextPieces(SPECIAL, size=32).of("ab<|im_end|>" * 1000))
    assert max(map(len, pieces)) <= 32 + len("ab<|im_end|>") * 2


@pytest.mark.parametrize(
    ("special", "certain"),
    [
        (["<s>", "</s>"], ["</s>", "<s>"]),
        (["<s>", "a<s>b"], ["a<s>b"]),
        (["abc", "cde"], []),
        (["<>x<"], []),
        (["\n\n", "ab"], []),
        (["<mask>", "<unk>"], ["<unk>"]),
    ],
    ids=["apart", "inside", "overlap", "itself", "short", "strips"],
)
def test_a_cut_is_certain_where_no_other_token_can_lie_across_it(
    special: list[str], certain: list[str]
) -> None:
    assert certain_cuts(special) == certain


def test_without_special_tokens_a_text_stays_whole() -> None:
    assert list(TextPieces([], size=2).of("abcdef")) == ["abcdef"]
