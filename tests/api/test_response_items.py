"""The items of /v1/responses: reasoning, calls, and a conversation of all kinds sent back."""

import json
from typing import Any

import httpx
import openai

from tests.support.responses import ASK, MODELS, WEATHER, events
from tests.support.serving import Served, server_of

served = server_of(*MODELS)


def test_reasoning_is_an_item_of_its_own(client: httpx.Client, sdk: openai.OpenAI) -> None:
    answer = sdk.responses.create(model="thinks", input="Where?")
    assert [o.type for o in answer.output] == ["reasoning", "message"]
    thought = answer.output[0]
    assert thought.type == "reasoning"
    assert thought.content
    assert thought.content[0].text == "Norway, so Oslo."
    assert answer.output_text == "The capital of Norway is Oslo."
    assert answer.usage
    assert answer.usage.output_tokens_details.reasoning_tokens == 3
    got = events(client.post("/v1/responses", json=ASK | {"model": "thinks", "stream": True}))
    kinds = [e["type"].removeprefix("response.") for e in got]
    assert kinds[2:10] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
    ]
    assert got[7]["text"] == "Norway, so Oslo."
    assert {e["output_index"] for e in got[2:10]} == {0}
    assert {e["output_index"] for e in got[10:-1]} == {1}


def test_a_summary_that_is_asked_for_holds_the_trace(sdk: openai.OpenAI) -> None:
    kinds = []
    with sdk.responses.stream(model="thinks", input="Where?", reasoning={"summary": "auto"}) as s:
        for e in s:
            kinds.append(e.type)
        thought = s.get_final_response().output[0]
    assert thought.type == "reasoning"
    assert [part.text for part in thought.summary] == ["Norway, so Oslo."]
    assert not thought.content
    assert kinds[3] == "response.reasoning_summary_part.added"
    assert "response.reasoning_summary_text.delta" in kinds
    assert "response.reasoning_summary_part.done" in kinds


def test_tools_are_called_with_arguments_that_fit(sdk: openai.OpenAI) -> None:
    tools: Any = [WEATHER]
    answer = sdk.responses.create(
        model="tools", input="Weather?", tools=tools, tool_choice="required"
    )
    call = answer.output[0]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("weather", {"place": "xxxx"})
    assert call.call_id.startswith("call_")
    named: Any = {"type": "function", "name": "weather"}
    stream = sdk.responses.create(
        model="tools", input="Weather?", tools=tools, tool_choice=named, stream=True
    )
    got = list(stream)
    assert [e.type.removeprefix("response.") for e in got] == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    done = got[4]
    assert done.type == "response.function_call_arguments.done"
    assert json.loads(done.arguments) == {"place": "xxxx"}


def test_a_conversation_of_items_becomes_messages(served: Served, client: httpx.Client) -> None:
    items = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "A b"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [],
         "content": [{"type": "reasoning_text", "text": "thought"}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Well then", "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather",
         "arguments": "{}", "status": "completed"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2",
         "output": [{"type": "input_text", "text": "sun"}]},
        {"role": "user", "content": "And now"},
    ]  # fmt: skip
    from server.api.responses.input import conversation
    from server.api.responses.wire import InputItem

    messages = conversation([InputItem.model_validate(i) for i in items], "Speak Norwegian.")
    assert messages[0] == {"role": "system", "content": "Speak Norwegian.\n\nBe kind."}
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "tool", "tool", "user"]
    assistant = messages[2]
    assert (assistant["content"], assistant["reasoning_content"]) == ("Well then", "thought")
    assert [c["id"] for c in assistant["tool_calls"]] == ["c1", "c2"]
    assert [(m["tool_call_id"], m["content"]) for m in messages[3:5]] == [
        ("c1", "rain"),
        ("c2", "sun"),
    ]
    body = {"model": "m", "input": items, "instructions": "Speak Norwegian."}
    r = client.post("/v1/responses", json=body)
    assert r.json()["output"][0]["content"][0]["text"] == "And now"


def test_an_answers_items_can_be_sent_back_as_they_are(sdk: openai.OpenAI) -> None:
    first = sdk.responses.create(model="thinks", input="Where?")
    items: Any = [{"role": "user", "content": "Where?"}, *first.output]
    items = [i if isinstance(i, dict) else i.model_dump() for i in items]
    items.append({"role": "user", "content": "Sure?"})
    again = sdk.responses.create(model="m", input=items)
    assert again.output_text == "Sure?"
