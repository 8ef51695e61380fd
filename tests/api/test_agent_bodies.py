"""The bodies that coding agents send in a whole turn, as recorded, streamed and whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.agents import DONE, EVERY, WORKSPACE, Agent
from tests.support.paths import AGENTS
from tests.support.serving import Served, read_records, scripted, server_of, wait_until

served = server_of(
    *(
        scripted(each.name, tool_parser="hermes", text=DONE, turn=each.turn_in(Path(WORKSPACE)))
        for each in EVERY
    ),
    scripted("forced", tool_parser="hermes"),
)


def sent(agent: Agent) -> list[dict[str, Any]]:
    text = (AGENTS / "bodies" / f"{agent.name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def with_tools() -> Iterator[Any]:
    """Each agent with each of its bodies, and how many results of tools that has."""
    for agent in EVERY:
        bodies = [body for body in sent(agent) if body.get("tools")]
        for number, body in enumerate(bodies):
            yield pytest.param(agent, body, number, id=f"{agent.name}-{number}")


def answer_to(client: httpx.Client, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    """Its text, the calls as (name, arguments), and the tokens of prompt and answer."""
    answer = client.post(endpoint, json=body)
    assert answer.status_code == 200, answer.text
    read = READERS[endpoint]
    if not body["stream"]:
        return read([answer.json()])
    lines = answer.text.splitlines()
    return read([json.loads(x[6:]) for x in lines if x.startswith("data: {")])


def of_responses(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a whole response, or of a stream's events, of which the last has it."""
    response = events[-1].get("response", events[-1])
    assert response["status"] == "completed"
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    said = [item for item in response["output"] if item["type"] == "message"]
    usage = response["usage"]
    return {
        "text": "".join(part["text"] for item in said for part in item["content"]),
        "calls": [(call["name"], json.loads(call["arguments"])) for call in calls],
        "tokens": (usage["input_tokens"], usage["output_tokens"]),
    }


def of_messages(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a whole message, or of a stream's events."""
    if events[0]["type"] == "message":
        return _of_message(events[0]["content"], events[0]["usage"])
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"] | {"said": ""})
        elif event["type"] == "content_block_delta":
            blocks[-1]["said"] += next(v for k, v in event["delta"].items() if k != "type")
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["said"] or "{}")
        else:
            block["text"] = block["said"]
    return _of_message(blocks, events[-2]["usage"])


def _of_message(blocks: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
    calls = [block for block in blocks if block["type"] == "tool_use"]
    read = usage["input_tokens"] + usage["cache_read_input_tokens"]
    return {
        "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "calls": [(call["name"], call["input"]) for call in calls],
        "tokens": (read, usage["output_tokens"]),
    }


def of_chat(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Of a whole chat completion, or of a stream's chunks."""
    text, arguments = "", ""
    names: list[str] = []
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        said = choice["delta" if "delta" in choice else "message"]
        text += said.get("content") or ""
        for call in said.get("tool_calls") or ():
            names += filter(None, [call["function"].get("name")])
            arguments += call["function"].get("arguments") or ""
    usage = chunks[-1]["usage"]
    return {
        "text": text,
        "calls": [(name, json.loads(arguments)) for name in names],
        "tokens": (usage["prompt_tokens"], usage["completion_tokens"]),
    }


READERS = {
    "/v1/responses": of_responses,
    "/v1/chat/completions": of_chat,
    "/v1/messages": of_messages,
}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(("agent", "body", "number"), list(with_tools()))
def test_the_answer_to_a_body_is_the_next_step_of_the_turn(
    served: Served,
    client: httpx.Client,
    agent: Agent,
    body: dict[str, Any],
    number: int,
    stream: bool,
) -> None:
    before = len(read_records(served.data_dir))
    options = {"stream_options": body.get("stream_options") if stream else None}
    body = body | {"model": agent.name, "stream": stream} | options
    answer = answer_to(client, agent.endpoint, {k: v for k, v in body.items() if v is not None})
    turn = agent.turn_in(Path(WORKSPACE))
    assert answer["calls"] == [
        step for steps in turn[number : number + 1] for step in steps.items()
    ]
    assert answer["text"] == (DONE if number == len(turn) else "")
    wait_until(lambda: len(read_records(served.data_dir)) > before, "the record is there")
    record = read_records(served.data_dir)[-1]
    assert answer["tokens"] == (record["prompt_tokens"], record["completion_tokens"])


@pytest.mark.parametrize("agent", EVERY, ids=lambda agent: agent.name)
def test_each_of_an_agents_tools_can_be_forced(client: httpx.Client, agent: Agent) -> None:
    """Their schemas are within the bounds of a form."""
    body = next(body for body in sent(agent) if body.get("tools")) | {"model": "forced"}
    kinds = (None, "function")
    functions = [t.get("function", t) for t in body["tools"] if t.get("type") in kinds]
    assert len(functions) > 5
    for function in functions:
        forced = body | {"tool_choice": choice_of(agent.endpoint, function["name"])}
        [(called, arguments)] = answer_to(client, agent.endpoint, forced)["calls"]
        assert called == function["name"]
        schema = function.get("parameters") or function.get("input_schema") or {}
        assert set(schema.get("required", ())) <= set(arguments)


def choice_of(endpoint: str, tool: str) -> dict[str, Any]:
    if endpoint == "/v1/messages":
        return {"type": "tool", "name": tool}
    if endpoint == "/v1/responses":
        return {"type": "function", "name": tool}
    return {"type": "function", "function": {"name": tool}}


def test_an_agents_request_without_tools_is_answered(client: httpx.Client) -> None:
    titles = [(agent, body) for agent in EVERY for body in sent(agent) if not body.get("tools")]
    assert [agent.name for agent, _ in titles] == ["opencode"]
    for agent, body in titles:
        answer = answer_to(client, agent.endpoint, body | {"model": agent.name})
        assert (answer["text"], answer["calls"]) == (DONE, [])


@pytest.mark.parametrize("agent", EVERY, ids=lambda agent: agent.name)
def test_a_recorded_turn_is_whole(agent: Agent) -> None:
    results = [json.dumps(body).count('call_output"') for body in sent(agent) if body.get("tools")]
    roles = [json.dumps(body).count('"role": "tool"') for body in sent(agent) if body.get("tools")]
    blocks = [
        json.dumps(body).count('"type": "tool_result"') for body in sent(agent) if body.get("tools")
    ]
    assert [0, 1, 2] in (results, roles, blocks)


@pytest.mark.parametrize("agent", EVERY, ids=lambda agent: agent.name)
def test_a_recorded_turn_tells_nothing_of_the_machine_it_ran_on(agent: Agent) -> None:
    text = (AGENTS / "bodies" / f"{agent.name}.jsonl").read_text()
    for mark in ("/tmp", "/root", "127.0.0.1", "wayscloud_llm_"):
        assert mark not in text
