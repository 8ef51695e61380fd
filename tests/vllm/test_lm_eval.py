"""lm-eval's requests on a real model through the whole server: the log likelihood of a text."""

import math
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import pytest

from engines.base import Engine
from engines.registry.spec import EngineSpec, ModelSpec
from engines.vllm.vocabulary import BYTE_OF_LETTER
from tests.support.engine_fixtures import Lent, in_a_thread, on
from tests.support.serving import Served, serving_here
from tests.support.wire_checks import assert_error, events

pytestmark = [pytest.mark.anyio, on("vllm-tiny")]

ASK: Final[dict[str, Any]] = {
    "model": "tiny", "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True,
}  # fmt: skip
TEXTS: Final = ["The fjord is deep.", "A cat sat on the mat; it was cold."]


@pytest.fixture(scope="module")
async def served(
    engine: Engine, anyio_backend: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    lent: Any = Lent(engine)
    spec = EngineSpec(kind="vllm", source="tiny")
    model = ModelSpec(alias="tiny", engine=spec, context_tokens=4096, output_tokens=512)
    data_dir = tmp_path_factory.mktemp("data")
    async with serving_here(data_dir, model, build=lambda _: lent) as server:
        yield server


def asked(served: Served, **fields: Any) -> httpx.Response:
    return httpx.post(
        f"{served.url}/v1/completions", json=ASK | fields, headers=served.headers, timeout=120
    )


def log_likelihoods(answer: Any, context: int) -> list[tuple[float, bool]]:
    """As lm-eval reads an answer: behind the context, and without the one token generated."""
    found = []
    for choice in sorted(answer["choices"], key=lambda c: c["index"]):
        told = choice["logprobs"]
        own = told["token_logprobs"][context:-1]
        tops = told["top_logprobs"][context:-1]
        is_greedy = all(x == max(t.values()) for x, t in zip(own, tops, strict=True))
        found.append((sum(own), is_greedy))
    return found


def ids_of(served: Served, text: str) -> list[int]:
    r = httpx.post(
        f"{served.url}/v1/tokenize", json={"model": "tiny", "prompt": text}, headers=served.headers
    )
    return list(r.json()["tokens"])


@in_a_thread
def test_texts_and_their_token_ids_are_as_likely(served: Served) -> None:
    by_text = asked(served, prompt=TEXTS).json()
    by_ids = asked(served, prompt=[ids_of(served, text) for text in TEXTS]).json()
    assert by_text["usage"] == by_ids["usage"]
    assert by_text["usage"]["completion_tokens"] == 2
    pairs = zip(log_likelihoods(by_text, 3), log_likelihoods(by_ids, 3), strict=True)
    for (one, _), (other, _) in pairs:
        assert -1000 < one < 0
        assert math.isclose(one, other, abs_tol=0.05)
    for choice, text in zip(by_ids["choices"], TEXTS, strict=True):
        assert choice["text"].startswith(text)
        told = choice["logprobs"]
        assert told["text_offset"][: len(text)] == list(range(len(text)))
        assert told["token_logprobs"][0] is told["top_logprobs"][0] is None


@in_a_thread
def test_what_the_model_says_itself_is_greedy_and_nothing_else(served: Served) -> None:
    ids = ids_of(served, TEXTS[0])
    said = asked(served, prompt=ids, max_tokens=3, echo=False, ignore_eos=True).json()
    own = [id_of(token) for token in said["choices"][0]["logprobs"]["tokens"]]
    other = [own[0], own[1], (own[2] + 1) % 256]
    for behind, expected in ((own, True), (other, False)):
        [(_, is_greedy)] = log_likelihoods(asked(served, prompt=ids + behind).json(), len(ids))
        assert is_greedy is expected


def id_of(token: str) -> int:
    """The tiny model's vocabulary is the 256 bytes, in the order of their letters."""
    byte = int(token[2:], 16) if token.startswith("\\x") else ord(token)
    letters = sorted(BYTE_OF_LETTER)
    return next(i for i, letter in enumerate(letters) if BYTE_OF_LETTER[letter] == byte)


@pytest.mark.parametrize("max_tokens", [0, 1, 3])
@in_a_thread
def test_a_stream_tells_the_same(served: Served, max_tokens: int) -> None:
    whole = asked(served, prompt=TEXTS[0], max_tokens=max_tokens, ignore_eos=True).json()
    usage = {"include_usage": True, "continuous_usage_stats": True}
    r = asked(
        served, prompt=TEXTS[0], max_tokens=max_tokens, ignore_eos=True, stream=True,
        stream_options=usage,
    )  # fmt: skip
    *chunks, last = events(r.text)
    told = [c["choices"][0]["logprobs"] for c in chunks if c["choices"][0]["logprobs"]]
    streamed = {name: [x for each in told for x in each[name]] for name in told[0]}
    expected = whole["choices"][0]["logprobs"]
    for name in ("tokens", "text_offset"):
        assert streamed[name] == expected[name]
    assert streamed["token_logprobs"] == pytest.approx(expected["token_logprobs"], abs=0.02)
    tops = zip(streamed["top_logprobs"], expected["top_logprobs"], strict=True)
    assert all((one or {}).keys() == (other or {}).keys() for one, other in tops)
    assert last["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == max_tokens
    text = "".join(c["choices"][0]["text"] for c in chunks)
    assert text == whole["choices"][0]["text"]


@in_a_thread
def test_more_than_can_be_told_at_once_is_refused(served: Served) -> None:
    ids = [65] * 3200
    assert asked(served, prompt=ids, logprobs=19, max_tokens=0).status_code == 200
    error = assert_error(
        asked(served, prompt=ids, logprobs=20, max_tokens=0), 400, "INVALID_PARAMETER", "logprobs"
    )
    assert "65536" in error["message"]
