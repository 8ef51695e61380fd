"""The fine print of a chat body: what is wrong is named to its depth, with what would be right."""

import json
from typing import Any

import httpx
import pytest

from tests.support.chat_bodies import ASK, PATH, post
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

served = server_of(scripted("m"))


@pytest.mark.parametrize(
    ("messages", "field", "provided"),
    [
        ([], "messages", "an array"),
        ([{}], "messages[0].role", None),
        ([{"role": "user"}], "messages[0].content", None),
        ([{"role": "user", "content": None}], "messages[0].content", None),
        ([{"role": "user", "content": 5}], "messages[0].content", 5),
        ([{"role": "user", "content": {}}], "messages[0].content", "an object"),
        ([{"role": "user", "content": ["x"]}], "messages[0].content[0]", "x"),
        ([{"role": "user", "content": [{}]}], "messages[0].content[0].type", None),
        ([{"role": "user", "content": [{"type": 1}]}], "messages[0].content[0].type", 1),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text", None),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}],
            "messages[0].content[1].type",
            "image_url",
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
            "messages[0].content[0].type",
            "input_audio",
        ),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id", None),
        ([{"role": "tool", "content": None, "tool_call_id": "c"}], "messages[0].content", None),
        (
            [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}],
            "messages[0].tool_calls[0].function.name",
            None,
        ),
        ([{"role": "user", "content": "x"}, {"role": 3}], "messages[1].role", 3),
        ([{"role": "user", "content": "x", "name": 3}], "messages[0].name", 3),
    ],
)
def test_a_wrong_message_is_named_to_its_depth(
    client: httpx.Client, messages: Any, field: str, provided: Any
) -> None:
    r = client.post(PATH, json=ASK | {"messages": messages})
    error = assert_error(r, 400, "INVALID_PARAMETER", field)
    assert error["details"]["provided"] == provided
    assert error["details"]["expected"]
    if field.endswith("type") and isinstance(provided, str):
        assert "reads text only" in error["message"]


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"n": 1.5}, "n", "an integer from 1 to 16"),
        ({"n": True}, "n", "an integer from 1 to 16"),
        ({"temperature": True}, "temperature", "a number from 0 to 2"),
        ({"stop": ["a", ""]}, "stop[1]", "at least 1 character(s)"),
        ({"stop": ""}, "stop", "a string, or an array of at most 16 strings, none empty"),
        ({"stop": ["a", 1]}, "stop[1]", "a string"),
        ({"max_tokens": 10**30}, "max_tokens", "an integer of at least 1"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", None),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "a value"),
        ({"tools": [{"type": "web"}]}, "tools[0].type", "one of 'function'"),
        (
            {"tools": [{"type": "function", "function": {"name": "no spaces"}}]},
            "tools[0].function.name",
            None,
        ),
        ({"tool_choice": "always"}, "tool_choice", None),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function", "a value"),
        ({"response_format": {"type": "xml"}}, "response_format.type", None),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema.schema",
            "a JSON schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
            "response_format.json_schema.schema",
            "an object",
        ),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "true or false"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", None),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json", "a JSON schema"),
        (
            {"structured_outputs": {"json": '{"title": "\\udcff"}'}},
            "structured_outputs.json",
            "a JSON schema",
        ),
        (
            {"structured_outputs": {"json": '{"minimum": NaN}'}},
            "structured_outputs.json",
            "a JSON schema",
        ),
        ({"functions": [{"name": "f"}]}, "functions", "tools"),
        ({"best_of": 2}, "best_of", "n"),
        ({"guided_regex": "a"}, "guided_regex", "structured_outputs.regex"),
        ({"modalities": ["text", "audio"]}, "modalities", '["text"]'),
        ({"min_tokens": 30, "max_tokens": 20}, "min_tokens", "at most 20"),
    ],
)
def test_a_wrong_field_says_what_would_be_right(
    client: httpx.Client, change: dict[str, Any], field: str, expected: str | None
) -> None:
    error = assert_error(client.post(PATH, json=ASK | change), 400, "INVALID_PARAMETER", field)
    assert error["details"]["field"] == field
    assert error["details"]["expected"] == (expected or error["details"]["expected"]) != ""


def test_what_is_said_is_said_in_json(client: httpx.Client) -> None:
    r = client.post(PATH, json=ASK | {"max_tokens": False})
    assert "Invalid value for max_tokens: false; expected" in r.json()["error"]["message"]
    r = client.post(PATH, json=ASK | {"stream": "nei"})
    assert 'Invalid value for stream: "nei"; expected true or false.' in r.text.replace('\\"', '"')


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ["temperature", "metadata", "nobody_knows", "logit_bias"])
def test_what_is_no_json_number_is_refused_everywhere(
    client: httpx.Client, number: str, place: str
) -> None:
    value = number if place == "temperature" else f'{{"1": {number}}}'
    r = post(client, json.dumps(ASK)[:-1] + f', "{place}": {value}}}')
    error = assert_error(r, 400, "INVALID_PARAMETER")
    assert f"{number} is no JSON number" in error["message"]


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(ASK).replace("Hi you", r"\ud83d"),
        json.dumps(ASK).replace("Hi you", r"\udc00x"),
        json.dumps(ASK).encode().replace(b"Hi you", b"\xed\xa0\x80"),
        json.dumps(ASK)[:-1] + ', "deep": ' + "[" * 3000 + "]" * 3000 + "}",
        json.dumps(ASK)[:-1] + ', "deep": ' + '{"a":' * 3000 + "1" + "}" * 3000 + "}",
    ],
    ids=["high surrogate", "low surrogate", "encoded surrogate", "deep arrays", "deep objects"],
)
def test_what_no_text_can_hold_is_refused(client: httpx.Client, raw: str | bytes) -> None:
    error = assert_error(post(client, raw), 400, "INVALID_PARAMETER")
    assert "The body is not valid JSON" in error["message"]


HARD = {"type": "object", "properties": {"a": {"type": "nonsense"}}, "required": ["a"]}
FORM = {"type": "json_schema", "name": "n", "schema": HARD}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "field", "provided"),
    [
        (
            "/v1/chat/completions",
            {"response_format": {"type": "json_schema", "json_schema": FORM}},
            "response_format",
            "an object",
        ),
        ("/v1/responses", {"text": {"format": FORM}}, "text.format", "an object"),
        (
            "/v1/completions",
            {"structured_outputs": {"regex": "a+"}},
            "structured_outputs",
            "an object",
        ),
    ],
)
def test_what_an_engine_refuses_has_details_like_any_other(
    client: httpx.Client, path: str, body: dict[str, Any], field: str, provided: str, stream: bool
) -> None:
    text = {"/v1/responses": "input", "/v1/completions": "prompt"}.get(path)
    asked = {text: "x"} if text else {"messages": [{"role": "user", "content": "x"}]}
    answer = client.post(path, json={"model": "m", "stream": stream, **asked, **body})
    error = assert_error(answer, 400, "INVALID_PARAMETER", field)
    assert error["details"]["provided"] == provided
    assert error["details"]["expected"] not in (None, "", error["message"])
