"""Fields of other servers that are honoured here: stop strings, continued answers, cut prompts."""

import json
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error, events

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
SAID = [{"role": "user", "content": "Hi you"}]
BEGUN = [*SAID, {"role": "assistant", "content": "Well"}]
ASK: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": SAID},
    COMPLETIONS: {"model": "m", "prompt": "Hi you"},
    RESPONSES: {"model": "m", "input": "Hi you"},
}

served = server_of(
    scripted("m", text="one two three"),
    scripted("thinks", text="one two", reasoning_text="two, no: one.", reasoning=Reasoning()),
    scripted("fixed", chat_template_kwargs={"enable_thinking": False}),
    scripted("echo"),
    scripted("small", context_tokens=12, output_tokens=10),
    scripted("vectors", task="embed"),
    scripted("other-vectors", task="embed"),
)


def answer_of(client: httpx.Client, path: str, body: dict[str, Any], stream: bool) -> str:
    """An answer's text, whole or streamed."""
    r = client.post(path, json=body | {"stream": stream})
    assert r.status_code == 200, r.text
    if path == RESPONSES:
        last = r.text.rstrip().rsplit("data: ", 1)[-1]
        whole = json.loads(last)["response"] if stream else r.json()
        return str(whole["output"][-1]["content"][0]["text"])
    if stream:
        choices = [c["choices"][0] for c in events(r.text)]
        return "".join(
            c["delta"].get("content", "") if path == CHAT else c["text"] for c in choices
        )
    choice = r.json()["choices"][0]
    return str(choice["message"]["content"] if path == CHAT else choice["text"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ASK)
def test_the_stop_string_is_said_where_it_is_wanted(
    client: httpx.Client, path: str, stream: bool
) -> None:
    stop = ASK[path] | {"stop": "wo th"}
    assert answer_of(client, path, stop, stream) == "one t"
    included = stop | {"include_stop_str_in_output": True}
    assert answer_of(client, path, included, stream) == "one two th"
    assert answer_of(client, path, included | {"stop": None}, stream) == "one two three"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_a_stop_string_in_the_thinking_does_not_end_the_answer(
    client: httpx.Client, path: str, stream: bool
) -> None:
    body = ASK[path] | {"model": "thinks", "stop": ["two"]}
    assert answer_of(client, path, body, stream).strip() == "one"


@pytest.mark.parametrize(
    "change",
    [
        {"continue_final_message": True},
        {"continue_final_message": True, "add_generation_prompt": False},
        {"messages": [*SAID, {"role": "assistant", "content": "Well", "prefix": True}]},
        {"add_generation_prompt": False},
        {"add_generation_prompt": True, "continue_final_message": False},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_may_be_gone_on_with(
    client: httpx.Client, change: dict[str, Any], stream: bool
) -> None:
    assert answer_of(client, CHAT, ASK[CHAT] | {"messages": BEGUN} | change, stream)
    count = {"model": "m", "messages": BEGUN} | change
    assert client.post("/v1/tokenize", json=count).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"continue_final_message": True, "messages": SAID}, "continue_final_message"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "add_generation_prompt"),
        ({"messages": [{**SAID[0], "prefix": True}]}, "messages[0].prefix"),
        ({"messages": [{**BEGUN[1], "prefix": True}, *SAID]}, "messages[0].prefix"),
    ],
)
def test_only_the_last_answer_can_be_gone_on_with(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    for path in (CHAT, "/v1/tokenize"):
        r = client.post(path, json={"model": "m", "messages": BEGUN} | change)
        assert_error(r, 400, "INVALID_PARAMETER", field)


@pytest.mark.parametrize("path", [CHAT, "/v1/tokenize"])
def test_enable_thinking_is_a_switch_of_the_template(client: httpx.Client, path: str) -> None:
    def status(**fields: Any) -> int:
        return client.post(path, json={"model": "m", "messages": SAID} | fields).status_code

    same, other = {"enable_thinking": False}, {"enable_thinking": True}
    assert status(enable_thinking=False) == status(enable_thinking=None) == 200
    assert status(enable_thinking=False, chat_template_kwargs=same) == 200
    r = client.post(
        path,
        json={"model": "m", "messages": SAID, "chat_template_kwargs": other} | same,
    )
    assert_error(r, 400, "INVALID_PARAMETER", "enable_thinking")
    fixed = {"model": "fixed", "messages": SAID}
    assert client.post(path, json=fixed | same).status_code == 200
    r = client.post(path, json=fixed | other)
    assert_error(r, 400, "INVALID_PARAMETER", "chat_template_kwargs.enable_thinking")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("truncation", "tokens"),
    [
        ({"truncate_prompt_tokens": 3}, 3),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, 3),
        ({"truncate_prompt_tokens": 99}, 6),
        ({"truncate_prompt_tokens": None, "truncation_side": "left"}, 6),
    ],
)
def test_a_prompt_is_cut_where_that_is_wanted(
    client: httpx.Client, truncation: dict[str, Any], tokens: int, stream: bool
) -> None:
    body = {"model": "m", "prompt": "a b c d e f", "stream": stream} | truncation
    body |= {"stream_options": {"include_usage": True}} if stream else {}
    r = client.post(COMPLETIONS, json=body)
    usage = (events(r.text)[-1] if stream else r.json())["usage"]
    assert usage["prompt_tokens"] == tokens
    ids = {"model": "m", "prompt": [1, 2, 3, 4, 5, 6], "max_tokens": 1} | truncation
    assert client.post(COMPLETIONS, json=ids).json()["usage"]["prompt_tokens"] == tokens


def test_a_prompt_is_cut_to_what_fits(client: httpx.Client) -> None:
    long = {"model": "small", "messages": [{"role": "user", "content": "a " * 20}]}
    r = client.post(CHAT, json=long | {"max_tokens": 4})
    assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", "messages")
    cut = long | {"truncate_prompt_tokens": -1}
    assert client.post(CHAT, json=cut | {"max_tokens": 4}).json()["usage"]["prompt_tokens"] == 8
    assert client.post(CHAT, json=cut).json()["usage"]["prompt_tokens"] == 11


def test_an_empty_prompt_is_no_long_one(client: httpx.Client) -> None:
    for prompt in ("", [""], ["a", ""]):
        r = client.post(COMPLETIONS, json={"model": "m", "prompt": prompt})
        error = assert_error(r, 400, "INVALID_PARAMETER", "prompt")
        assert "no tokens" in error["message"]


def test_vectors_have_their_own_length(client: httpx.Client) -> None:
    ask = {"model": "vectors", "input": "Hi"}
    wrong = client.post("/v1/embeddings", json=ask | {"dimensions": 5})
    error = assert_error(wrong, 400, "INVALID_PARAMETER", "dimensions")
    assert error["details"]["expected"] == "16, its vectors' length"
    r = client.post("/v1/embeddings", json=ask | {"dimensions": 16})
    assert len(r.json()["data"][0]["embedding"]) == 16
    again = client.post("/v1/embeddings", json=ask | {"dimensions": 5})
    assert again.json()["error"]["message"] == error["message"], "known before the model is asked"


SCHEMA = {"type": "object", "properties": {"city": {"const": "Oslo"}}, "required": ["city"],
          "additionalProperties": False}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_objects_schema_counts(client: httpx.Client, stream: bool) -> None:
    form = {"type": "json_object", "schema": SCHEMA}
    for path in (CHAT, COMPLETIONS):
        body = ASK[path] | {"response_format": form, "max_tokens": 50}
        assert answer_of(client, path, body, stream).replace(" ", "") == '{"city":"Oslo"}'
    body = ASK[RESPONSES] | {"text": {"format": form}}
    assert answer_of(client, RESPONSES, body, stream).replace(" ", "") == '{"city":"Oslo"}'


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"type": "text", "schema": SCHEMA}, "response_format.schema"),
        ({"type": "text", "json_schema": {"schema": SCHEMA}}, "response_format.json_schema"),
        ({"type": "json_object", "json_schema": {"schema": SCHEMA}}, "response_format.json_schema"),
        (
            {"type": "json_schema", "json_schema": {"schema": SCHEMA}, "schema": SCHEMA},
            "response_format.schema",
        ),
    ],
)
def test_a_schema_in_another_place_is_refused(
    client: httpx.Client, form: dict[str, Any], field: str
) -> None:
    for path in (CHAT, COMPLETIONS):
        r = client.post(path, json=ASK[path] | {"response_format": form})
        assert_error(r, 400, "INVALID_PARAMETER", field)


def test_an_assistants_refusal_is_read(client: httpx.Client) -> None:
    def count(message: dict[str, Any]) -> int:
        asked = {"model": "m", "messages": [*SAID, {"role": "assistant"} | message, *SAID]}
        return int(client.post("/v1/tokenize", json=asked).json()["count"])

    assert count({"refusal": "I will not"}) == count({"content": "I will not"})
    assert count({"content": None, "refusal": "I will not"}) > count({"content": None})


LONG = "ø" * 257


@pytest.mark.parametrize("path", [*ASK, "/v1/embeddings", "/v1/tokenize"])
@pytest.mark.parametrize("field", ["user", "agent_id", "region"])
def test_what_is_stored_has_a_bound(client: httpx.Client, path: str, field: str) -> None:
    usual = {"/v1/embeddings": {"model": "vectors", "input": "x"},
             "/v1/tokenize": {"model": "m", "prompt": "x"}}  # fmt: skip
    body = (ASK | usual)[path]
    for value in (LONG, "a\0b"):
        error = assert_error(
            client.post(path, json=body | {field: value}), 400, "INVALID_PARAMETER", field
        )
        assert "512 bytes" in error["details"]["expected"]
    if field != "region":
        assert client.post(path, json=body | {field: LONG[:256]}).status_code == 200


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("metadata", [{"k": LONG}, {LONG: "v"}])
def test_metadata_has_the_same_bound(
    client: httpx.Client, path: str, metadata: dict[str, str]
) -> None:
    r = client.post(path, json=ASK[path] | {"metadata": metadata})
    assert_error(r, 400, "INVALID_PARAMETER", "metadata")
