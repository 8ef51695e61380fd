"""A byte-level vocabulary's text without its tokenizer: the same, at the same tokens."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tokenizers import Tokenizer, decoders
from tokenizers.decoders import DecodeStream

from engines.testing.tiny import make_llama
from engines.vllm.fastpath.byte_text import ByteText, TokenBytes, is_byte_level
from engines.vllm.fastpath.text import DetokenizedText, TextMakers
from engines.vllm.vocabulary import UNFINISHED, Vocabulary
from tests.support.paths import QWEN3_TOKENIZER as QWEN3

pytestmark = pytest.mark.vllm

PIECES = ["héllo", "🙂", "中文字", "a", "  ", "\n", "🇳🇴", "<0x0A>", "\u2581", "é", "\x00", "\uffff"]


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    if request.param == "qwen3":
        if not QWEN3.exists():
            pytest.skip("`make clients` installs Qwen3's tokenizer")
        return AutoTokenizer.from_pretrained(QWEN3)
    folder: Path = make_llama(tmp_path_factory.mktemp("llama"))
    return AutoTokenizer.from_pretrained(folder)


def some_ids(tokenizer: Any, drawn: random.Random, kind: int) -> list[int]:
    if kind == 0:
        pieces = [*PIECES, tokenizer.eos_token]
        text = "".join(drawn.choices(pieces, k=10))
        return list(tokenizer.encode(text, add_special_tokens=False))
    ids = [drawn.randrange(len(tokenizer) + 5) for _ in range(25)]
    inside = tokenizer.backend_tokenizer
    halves = [i for i in ids if UNFINISHED in inside.decode([i])]
    return halves or ids if kind == 1 else ids


@pytest.mark.parametrize("hides_special", [True, False])
def test_groups_say_what_the_tokenizers_own_stream_says(
    tokenizer: Any, hides_special: bool
) -> None:
    inside, drawn = tokenizer.backend_tokenizer, random.Random(2)
    assert is_byte_level(inside)
    shown = TokenBytes(inside, hides_special)
    for number in range(900):
        ids = some_ids(tokenizer, drawn, number % 3)
        stream = DecodeStream(ids=[], skip_special_tokens=hides_special)
        expected, said, text = "", "", ByteText(shown)
        while ids:
            count = drawn.randint(1, 6)
            group, ids = ids[:count], ids[count:]
            expected += "".join(stream.step(inside, i) or "" for i in group)
            said += text.of(group)
            assert said == expected


def test_an_end_mark_says_nothing(tokenizer: Any) -> None:
    ids = tokenizer.encode("so", add_special_tokens=False)
    text = ByteText(TokenBytes(tokenizer.backend_tokenizer, hides_special=False))
    assert text.last([*ids, tokenizer.eos_token_id], is_stop=True) == "so"
    assert text.last(ids, is_stop=False) == "so"
    assert text.last([], is_stop=True) == ""


def detokenizer_of(tokenizer: Any) -> Any:
    return SimpleNamespace(stream=None, tokenizer=tokenizer, skip_special_tokens=True)


def test_a_prompt_that_ends_inside_a_character_keeps_vllms_own(tokenizer: Any) -> None:
    texts = TextMakers(Vocabulary(tokenizer))
    ours = detokenizer_of(tokenizer.backend_tokenizer)
    whole = tokenizer.encode("so 🪿", add_special_tokens=False)
    assert isinstance(texts.begin(ours, whole), ByteText)
    assert isinstance(texts.begin(ours, [*whole, tokenizer.eos_token_id]), ByteText)
    assert isinstance(texts.begin(ours, []), ByteText)
    assert isinstance(texts.begin(ours, whole[:-1]), DetokenizedText)


def test_another_vocabulary_keeps_vllms_own(tokenizer: Any) -> None:
    texts = TextMakers(Vocabulary(tokenizer))
    metaspace = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    metaspace.decoder = cast(Any, decoders.Metaspace())
    assert isinstance(texts.begin(detokenizer_of(metaspace), []), DetokenizedText)
    assert isinstance(texts.begin(SimpleNamespace(tokenizer=tokenizer), []), DetokenizedText)
