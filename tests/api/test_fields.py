"""Every field that other servers of this API know: honoured, passive, or a 400 by its name."""

import ast
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as OpenAIChat
from openai.types.completion_create_params import CompletionCreateParamsBase as OpenAICompletion
from openai.types.embedding_create_params import EmbeddingCreateParams as OpenAIEmbedding
from openai.types.responses.response_create_params import ResponseCreateParamsBase as OpenAIResponse

from server.api import fields
from server.api.fields import Refused, refuse
from server.errors import ApiError
from tests.support.fields_page import ENDPOINTS, INSIDE, PAGE, honoured, page
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, EMBEDDINGS, TOKENIZE = "/v1/responses", "/v1/embeddings", "/v1/tokenize"
RERANK, SCORE = "/v1/rerank", "/v1/score"
SAID: Final = [{"role": "user", "content": "Hi you"}]
ASK: Final[Mapping[str, dict[str, Any]]] = {
    CHAT: {"model": "m", "messages": SAID},
    COMPLETIONS: {"model": "m", "prompt": "Hi you"},
    RESPONSES: {"model": "m", "input": "Hi you"},
    EMBEDDINGS: {"model": "vectors", "input": "Hi you"},
    RERANK: {"model": "ranks", "query": "Hi you", "documents": ["Hi"]},
    SCORE: {"model": "ranks", "text_1": "Hi you", "text_2": "Hi"},
    TOKENIZE: {"model": "m", "prompt": "Hi you"},
}
WAYS: Final = [
    *((path, stream) for path in (CHAT, COMPLETIONS, RESPONSES) for stream in (False, True)),
    (EMBEDDINGS, False),
    (RERANK, False),
    (SCORE, False),
    (TOKENIZE, False),
]
VALUES: Final[tuple[Any, ...]] = (True, False, 1, 0, 0.5, -1, "x", "", ["x"], [], {"a": 1}, {})

served = server_of(
    scripted("m"), scripted("vectors", task="embed"), scripted("ranks", task="rerank")
)


def beyond(path: str) -> dict[str, Refused]:
    """The endpoint's table without what its wire type has a place for."""
    return {n: f for n, f in ENDPOINTS[path][1].items() if n not in honoured(path)}


def body(path: str, stream: bool, change: dict[str, Any]) -> dict[str, Any]:
    return ASK[path] | ({"stream": True} if stream else {}) | change


def ask_for_something(field: Refused) -> Iterator[Any]:
    """Values that none of the neutral ones is, in JSON: true is no 1."""
    neutral = {json.dumps(value) for value in field.neutral}
    yield from (value for value in VALUES if json.dumps(value) not in neutral)


@pytest.mark.parametrize(("path", "stream"), WAYS)
def test_what_would_change_the_answer_is_refused_by_name(
    client: httpx.Client, path: str, stream: bool
) -> None:
    for name, field in beyond(path).items():
        value = next(ask_for_something(field))
        r = client.post(path, json=body(path, stream, {name: value}))
        error = assert_error(r, 400, "INVALID_PARAMETER", name)
        assert error["details"]["expected"] == field.instead


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("value", [0, -1, 300, "5m", "-1", "24h"])
def test_how_long_a_model_stays_is_the_operators_and_no_requests(
    client: httpx.Client, path: str, value: int | str
) -> None:
    r = client.post(path, json=ASK[path] | {"keep_alive": value})
    error = assert_error(r, 400, "INVALID_PARAMETER", "keep_alive")
    assert "keep in the server's registry" in error["message"]
    assert client.post(path, json=ASK[path] | {"keep_alive": None}).status_code == 200


@pytest.mark.parametrize(("path", "stream"), WAYS)
def test_what_asks_for_what_happens_anyway_is_taken(
    client: httpx.Client, path: str, stream: bool
) -> None:
    known = beyond(path)
    for change in [dict.fromkeys(known), *all_neutral(known)]:
        r = client.post(path, json=body(path, stream, change))
        assert r.status_code == 200, f"{change}: {r.text}"


def all_neutral(known: Mapping[str, Refused]) -> Iterator[dict[str, Any]]:
    """Bodies that bring each neutral value once."""
    for i in range(max(len(field.neutral) for field in known.values())):
        yield {name: f.neutral[i] for name, f in known.items() if len(f.neutral) > i}


@pytest.mark.parametrize(("path", "stream"), WAYS)
def test_what_has_no_effect_is_taken_whatever_it_says(
    client: httpx.Client, path: str, stream: bool
) -> None:
    names = fields.PASSIVE.keys() - honoured(path)
    for value in (1, "x", {"a": [True]}):
        r = client.post(path, json=body(path, stream, dict.fromkeys(names, value)))
        assert r.status_code == 200, r.text


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_other_value_is_refused_and_true_is_no_1(path: str) -> None:
    for name, field in ENDPOINTS[path][1].items():
        for value in ask_for_something(field):
            with pytest.raises(ApiError):
                refuse({name: value}, ENDPOINTS[path][1])


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        (RESPONSES, {"stream_options": {"continuous_usage_stats": True}},
         "stream_options.continuous_usage_stats"),
        (CHAT, {"reasoning": {"context": "all"}}, "reasoning.context"),
        (CHAT, {"messages": [*SAID, {"role": "assistant", "function_call": {"name": "f"}}]},
         "messages[1].function_call"),
        (CHAT, {"messages": [{"role": "assistant", "audio": {"id": "a"}}, *SAID]},
         "messages[0].audio"),
        (CHAT, {"messages": [{"role": "assistant", "content": "x", "prefix": True}, *SAID]},
         "messages[0].prefix"),
        (RESPONSES, {"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        *(
            (path, {"structured_outputs": {"regex": "a", "disable_any_whitespace": True}},
             "structured_outputs.disable_any_whitespace")
            for path in (CHAT, COMPLETIONS, RESPONSES)
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_fields_inside_of_others_are_named_with_their_place(
    client: httpx.Client, path: str, change: dict[str, Any], field: str, stream: bool
) -> None:
    r = client.post(path, json=body(path, stream, change))
    assert_error(r, 400, "INVALID_PARAMETER", field)


@pytest.mark.parametrize("place", INSIDE)
def test_inside_of_others_the_same_values_are_neutral(place: str) -> None:
    for name, field in INSIDE[place].items():
        refuse({name: None}, INSIDE[place])
        for value in field.neutral:
            refuse({name: value}, INSIDE[place])
        for value in ask_for_something(field):
            with pytest.raises(ApiError) as refused:
                refuse({name: value}, INSIDE[place], place)
            assert refused.value.param == place + name


# Nothing that another server knows is missing.

OPENAI: Final[Mapping[str, type]] = {
    CHAT: OpenAIChat,
    COMPLETIONS: OpenAICompletion,
    RESPONSES: OpenAIResponse,
    EMBEDDINGS: OpenAIEmbedding,
}
VLLM: Final[Mapping[str, tuple[str, ...]]] = {
    CHAT: ("openai/chat_completion/protocol.py", "ChatCompletionRequest"),
    COMPLETIONS: ("openai/completion/protocol.py", "CompletionRequest"),
    RESPONSES: ("openai/responses/protocol.py", "ResponsesRequest"),
    EMBEDDINGS: (
        "pooling/base/protocol.py",
        "PoolingBasicRequestMixin",
        "CompletionRequestMixin",
        "ChatRequestOptionsMixin",
        "ChatRequestMixin",
        "EncodingRequestMixin",
        "EmbedRequestMixin",
    ),
    TOKENIZE: (
        "serve/tokenize/protocol.py",
        "TokenizeCompletionRequest",
        "TokenizeChatRequest",
    ),
}
"""Endpoint -> a file below vllm/entrypoints, and its classes."""
LLAMACPP: Final = """
    stream stream_options cache_prompt return_tokens return_progress max_tokens n_predict n_indent
    n_keep n_discard n_cmpl n n_cache_reuse t_max_predict_ms response_fields top_k top_p min_p
    top_n_sigma xtc_probability xtc_threshold typical_p temperature dynatemp_range dynatemp_exponent
    repeat_last_n repeat_penalty frequency_penalty presence_penalty dry_multiplier dry_base
    dry_allowed_length dry_penalty_last_n dry_sequence_breakers mirostat mirostat_tau mirostat_eta
    adaptive_target adaptive_decay seed n_probs min_keep backend_sampling post_sampling_probs
    speculative.n_min speculative.n_max speculative.p_min speculative.type logprobs lora
    json_schema grammar grammar_lazy chat_format reasoning_format reasoning_in_content
    thinking_forced_open parse_tool_calls chat_parser preserved_tokens grammar_triggers
    reasoning_budget_tokens reasoning_budget_message reasoning_budget_start_tag
    reasoning_budget_end_tag reasoning_budget_end_tags reasoning_control thinking_budget_tokens
    generation_prompt grammar_type continue_final_message echo verbose logit_bias ignore_eos stop
    samplers timings_per_token id_slot sse_ping_interval multimodal_data add_generation_prompt
    chat_template_kwargs enable_thinking response_format max_completion_tokens tools tool_choice
    parallel_tool_calls messages
"""
"""What llama.cpp's server reads of a completion, and of a chat beside OpenAI's."""


def unknown(path: str, names: set[str]) -> set[str]:
    return names - honoured(path) - ENDPOINTS[path][1].keys() - fields.PASSIVE.keys()


@pytest.mark.parametrize("path", OPENAI)
def test_every_field_of_openais_is_known(path: str) -> None:
    assert unknown(path, set(OPENAI[path].__annotations__)) == set()


@pytest.mark.parametrize("path", VLLM)
def test_every_field_of_vllms_is_known(path: str) -> None:
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    file, *classes = VLLM[path]
    source = Path(found.submodule_search_locations[0], "entrypoints", file).read_text()
    assert unknown(path, set(annotated(source, classes))) == set()


def annotated(source: str, classes: list[str]) -> Iterator[str]:
    """The public fields of these pydantic classes, without importing them."""
    bodies = {n.name: n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef)}
    statements = [each for name in classes for each in bodies[name]]
    targets = [s.target for s in statements if isinstance(s, ast.AnnAssign)]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    assert len(names) >= 5
    yield from (name for name in names if not name.startswith("_"))


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_every_field_of_llamacpps_is_known(path: str) -> None:
    assert unknown(path, set(LLAMACPP.split())) == set()


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES])
def test_what_one_endpoint_honours_the_others_know(path: str) -> None:
    assert unknown(path, honoured(CHAT) | honoured(COMPLETIONS) | honoured(RESPONSES)) == set()


def test_the_page_is_the_tables() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.fields_page"
