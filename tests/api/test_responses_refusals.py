"""/v1/responses: what is refused by its name, and what changes nothing and is accepted."""

from typing import Any

import httpx
import pytest

from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

ASK: dict[str, Any] = {"model": "m", "input": "Hi you"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
FUNCTION = {"type": "function", "name": "f"}
IN_N = {"type": "namespace", "name": "n", "tools": [FUNCTION]}
MANY_TOOLS = [
    {"type": "namespace", "name": n, "tools": [FUNCTION | {"name": f"f{i}"} for i in range(600)]}
    for n in ("a", "b")
]

served = server_of(
    scripted("m"),
    scripted("tiny", context_tokens=20, output_tokens=10),
)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
        ({"input": [{"type": "mcp_call"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"previous_response_id": ""}, "previous_response_id"),
        ({"previous_response_id": "x" * 65}, "previous_response_id"),
        ({"previous_response_id": "a", "conversation": "b"}, "conversation"),
        ({"conversation": {"id": 1}}, "conversation.id"),
        ({"conversation": "conv_1", "store": False}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True, "store": False}, "background"),
        ({"tools": [{"type": "custom"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "tools": []}]}, "tools[0].name"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": MANY_TOOLS}, "tools"),
        ({"tools": [FUNCTION, FUNCTION]}, "tools"),
        ({"tools": [FUNCTION, {"type": "custom", "name": "f"}]}, "tools"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [FUNCTION] * 2}]}, "tools"),
        ({"tools": [IN_N, FUNCTION | {"name": "n__f"}]}, "tools"),
        ({"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c"}]}, "input[0].name"),
        ({"input": [{"type": "custom_tool_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "no"}}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"max_output_tokens": 5000}, "max_output_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    r = client.post("/v1/responses", json=ASK | change)
    error = assert_error(r, 400, "INVALID_PARAMETER", field)
    assert error["details"]["field"] == field
    assert error["details"]["expected"]


def test_a_tool_that_comes_again_in_the_conversation_is_taken(client: httpx.Client) -> None:
    later = {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}
    said = {"role": "user", "content": "x"}
    body = ASK | {"tools": [FUNCTION], "input": [later, later, said]}
    assert client.post("/v1/responses", json=body).status_code == 200
    body["tools"] = [FUNCTION, IN_N]  # other names for the model
    assert client.post("/v1/responses", json=body).status_code == 200


def test_the_context_is_named_in_this_endpoints_words(client: httpx.Client) -> None:
    long = {"model": "tiny", "input": ("word " * 30).strip()}
    assert_error(client.post("/v1/responses", json=long), 400, "CONTEXT_LENGTH_EXCEEDED", "input")
    some = {"model": "tiny", "input": ("word " * 14).strip(), "max_output_tokens": 9}
    assert_error(
        client.post("/v1/responses", json=some),
        400, "CONTEXT_LENGTH_EXCEEDED", "max_output_tokens",
    )  # fmt: skip


def test_null_and_what_changes_nothing_is_accepted(client: httpx.Client) -> None:
    from server.api.responses.wire import ResponsesRequest

    optional = [n for n, f in ResponsesRequest.model_fields.items() if not f.is_required()]
    assert client.post("/v1/responses", json=ASK | dict.fromkeys(optional)).status_code == 200
    harmless = {
        "store": True, "background": False, "truncation": "auto", "service_tier": "auto",
        "include": ["reasoning.encrypted_content"],
        "stream_options": {"include_obfuscation": False},
        "text": {"verbosity": "medium"}, "max_tool_calls": 3, "n": 1,
    }  # fmt: skip
    r = client.post("/v1/responses", json=ASK | harmless)
    assert r.status_code == 200, r.text
    assert r.json()["store"] is True
