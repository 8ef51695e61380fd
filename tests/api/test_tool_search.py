"""/v1/responses with tools that stand in the conversation, and a search that the client runs.

The items have the shape in which Codex CLI sends them.
"""

import json
from typing import Any

import httpx
import pytest

from tests.support.codex_bodies import CODEX, GITHUB, PATCH, SHELL, USER
from tests.support.serving import scripted, server_of

SEARCH: dict[str, Any] = {
    "type": "tool_search",
    "execution": "client",
    "description": "Finds tools.",
    "parameters": {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
    },
}
CALL: dict[str, Any] = {
    "type": "tool_search_call",
    "call_id": "call_1",
    "status": "completed",
    "execution": "client",
    "arguments": {"query": "issues"},
}
FOUND: dict[str, Any] = {
    "type": "tool_search_output",
    "call_id": "call_1",
    "status": "completed",
    "execution": "client",
    "tools": [GITHUB],
}
MORE = {"type": "additional_tools", "role": "developer", "tools": [SHELL, PATCH]}
COMMENT = {"mcp__github__comment": {"input": "+1"}}

served = server_of(
    scripted("finds", tool_parser="hermes", turn=[{"tool_search": {"query": "issues"}}, COMMENT]),
    scripted("tools", tool_parser="hermes", text="Done."),
    scripted("none", tool_parser="none"),
)


def asked(client: httpx.Client, **fields: Any) -> Any:
    answer = client.post("/v1/responses", json=CODEX | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_search_that_the_client_runs_is_called_with_an_object(client: httpx.Client) -> None:
    answer = asked(client, model="finds", tools=[SHELL, SEARCH])
    [item] = answer["output"]
    assert item.pop("id").startswith("tsc_")
    assert item.pop("call_id").startswith("call_")
    assert item == {k: v for k, v in CALL.items() if k != "call_id"}
    assert answer["metadata"] == {}


def test_a_streamed_search_comes_whole(client: httpx.Client) -> None:
    body = CODEX | {"model": "finds", "tools": [SEARCH], "stream": True}
    lines = client.post("/v1/responses", json=body).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    kinds = ["created", "in_progress", "output_item.added", "output_item.done", "completed"]
    assert [e["type"] for e in events] == [f"response.{kind}" for kind in kinds]
    added, done = events[2]["item"], events[3]["item"]
    assert (added["arguments"], added["status"]) == ({}, "in_progress")
    assert done["arguments"] == {"query": "issues"}
    assert [e["sequence_number"] for e in events] == list(range(5))


def test_what_was_found_can_be_called(client: httpx.Client) -> None:
    answer = asked(client, model="finds", tools=[SEARCH], input=[USER, CALL, FOUND])
    [item] = answer["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "comment", "+1")
    assert item["namespace"] == "mcp__github"


def test_what_was_found_is_named_to_the_model(client: httpx.Client) -> None:
    def tokens(found: list[Any]) -> int:
        items = [USER, CALL, FOUND | {"tools": found}]
        return int(asked(client, model="none", input=items)["usage"]["input_tokens"])

    assert tokens([GITHUB]) == tokens([]) + 1  # two names, where "nothing" is one word


def test_tools_in_the_conversation_are_offered(client: httpx.Client) -> None:
    choice = {"type": "custom", "name": "apply_patch"}
    fields = {"input": [MORE, USER], "tools": None, "tool_choice": choice}
    [item] = asked(client, **fields)["output"]
    assert (item["type"], item["name"]) == ("custom_tool_call", "apply_patch")


def test_a_later_tool_replaces_an_earlier_one_of_its_name(client: httpx.Client) -> None:
    changed = SHELL | {"parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    items = [USER, MORE | {"tools": [changed]}]
    [item] = asked(client, input=items, tool_choice="required", tools=[SHELL])["output"]
    assert json.loads(item["arguments"]) == {"n": 1}


@pytest.mark.parametrize("execution", ["server", None])
def test_a_search_that_a_server_would_run_is_left_out(
    client: httpx.Client, execution: str | None
) -> None:
    search = SEARCH | {"execution": execution}
    answer = asked(client, tools=[SHELL, search, {"type": "web_search"}, {"type": "web_search"}])
    assert answer["metadata"]["tools_left_out"] == "tool_search, web_search"


def test_what_another_servers_search_found_is_offered(client: httpx.Client) -> None:
    call, found = CALL | {"execution": "server", "call_id": None}, FOUND | {"execution": "server"}
    choice = {"type": "function", "name": "search"}
    [item] = asked(client, input=[USER, call, found], tools=[], tool_choice=choice)["output"]
    assert item["name"] == "search"


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([USER, CALL, {k: v for k, v in FOUND.items() if k != "call_id"}], "input[2].call_id"),
        ([USER, {k: v for k, v in CALL.items() if k != "call_id"}], "input[1].call_id"),
        ([MORE | {"tools": [{"type": "custom"}]}, USER], "input[0].tools[0].name"),
        ([MORE | {"tools": {}}, USER], "input[0].tools"),
        ([USER, CALL | {"type": "function_call", "name": "f"}], "input[1].arguments"),
        ([USER, {"type": "compaction", "encrypted_content": "abc"}], "input[1].type"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(
    client: httpx.Client, items: list[Any], field: str
) -> None:
    answer = client.post("/v1/responses", json=CODEX | {"input": items})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].endswith(field)


def test_all_turns_may_be_asked_for_since_all_are_read(client: httpx.Client) -> None:
    assert asked(client, reasoning={"context": "all_turns"})["status"] == "completed"
    refused = client.post("/v1/responses", json=CODEX | {"reasoning": {"context": "current_turn"}})
    assert refused.json()["error"]["param"] == "reasoning.context"
