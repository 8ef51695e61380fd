"""/v1/responses as OpenAI's client uses it: items in, events out, tools, forms, reasoning."""

import json
from typing import Any

import httpx
import openai
from pydantic import BaseModel

from engines.base import Reasoning
from tests.support.serving import Served, read_records, scripted, server_of

ASK: dict[str, Any] = {"model": "m", "input": "Hi you"}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "minLength": 4}}},
    "strict": None,
}

served = server_of(
    scripted("m"),
    scripted(
        "thinks",
        text="The capital of Norway is Oslo.",
        reasoning=Reasoning(),
        reasoning_text="Norway, so Oslo.",
        reasoning_efforts={"low": {"enable_thinking": False}},
    ),
    scripted("tools", tool_parser="hermes"),
    scripted("dies", text="word " * 50, die_after_tokens=3, token_delay_s=0.001),
    scripted("tiny", context_tokens=20, output_tokens=10),
)


def events(r: httpx.Response) -> list[dict[str, Any]]:
    """The payloads; every one has its type as event name, and the next sequence number."""
    assert r.headers["content-type"].startswith("text/event-stream")
    out: list[dict[str, Any]] = []
    for block in r.text.strip().split("\n\n"):
        name, data = block.split("\n", 1)
        payload = json.loads(data.removeprefix("data: "))
        assert name == f"event: {payload['type']}"
        assert payload["sequence_number"] == len(out)
        out.append(payload)
    return out


def test_a_whole_response_has_openais_members(client: httpx.Client) -> None:
    body = client.post("/v1/responses", json=ASK | {"metadata": {"k": "v"}, "user": "u"}).json()
    assert body.pop("id").startswith("resp_")
    assert body.pop("created_at") <= body.pop("completed_at")
    item = body["output"][0]
    assert item.pop("id").startswith("msg_")
    text = {"type": "output_text", "text": "Hi you", "annotations": [], "logprobs": []}
    assert body == {
        "object": "response",
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "m",
        "output": [
            {"type": "message", "status": "completed", "role": "assistant", "content": [text]}
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 0.7,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 6,
        },
        "user": "u",
        "metadata": {"k": "v"},
    }


def test_the_events_of_a_text_come_in_openais_order(client: httpx.Client) -> None:
    got = events(client.post("/v1/responses", json=ASK | {"stream": True}))
    assert [e["type"] for e in got] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert got[0]["response"]["status"] == "in_progress"
    assert got[0]["response"]["usage"] is None
    item = got[2]["item"]
    assert (item["status"], item["content"]) == ("in_progress", [])
    assert {e["item_id"] for e in got if "item_id" in e} == {item["id"]}
    assert "".join(e["delta"] for e in got[4:6]) == got[6]["text"] == "Hi you"
    whole = got[-1]["response"]
    assert whole["output"] == [got[8]["item"]]
    assert whole["usage"]["total_tokens"] == 6
    assert whole["id"] == got[0]["response"]["id"]


def test_a_whole_response_is_the_fold_of_its_stream(client: httpx.Client) -> None:
    def without_ids(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in item.items() if k != "id"} for item in output]

    for body in (
        ASK,
        ASK | {"model": "thinks", "top_logprobs": 2},
        ASK | {"model": "tools", "tools": [WEATHER], "tool_choice": "required"},
        ASK | {"model": "thinks", "max_output_tokens": 5},
    ):
        whole = client.post("/v1/responses", json=body).json()
        last = events(client.post("/v1/responses", json=body | {"stream": True}))[-1]["response"]
        assert without_ids(whole["output"])[0].keys() == without_ids(last["output"])[0].keys()
        if body["model"] != "tools":
            assert without_ids(whole["output"]) == without_ids(last["output"])
        assert (whole["status"], whole["usage"]) == (last["status"], last["usage"])


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


def test_openais_stream_helper_puts_the_response_together(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="m", input="one two three") as s:
        text = "".join(e.delta for e in s if e.type == "response.output_text.delta")
        final = s.get_final_response()
    assert text == final.output_text == "one two three"
    assert final.usage
    assert final.usage.output_tokens == 4


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


class Answer(BaseModel):
    city: str
    people: int


def test_text_format_is_parsed_by_openais_client(sdk: openai.OpenAI) -> None:
    parsed = sdk.responses.parse(model="m", input="Oslo?", text_format=Answer).output_parsed
    assert parsed == Answer(city="x", people=1)
    text: Any = {"format": {"type": "json_object"}}
    assert sdk.responses.create(model="m", input="Oslo?", text=text).output_text == "{}"


def test_what_is_cut_by_max_output_tokens_is_incomplete(client: httpx.Client) -> None:
    body = ASK | {"input": "a b c d", "max_output_tokens": 2}
    whole = client.post("/v1/responses", json=body).json()
    assert whole["status"] == "incomplete"
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert whole["output"][0]["status"] == "incomplete"
    got = events(client.post("/v1/responses", json=body | {"stream": True}))
    assert got[-1]["type"] == "response.incomplete"
    assert got[-1]["response"]["usage"]["output_tokens"] == 2


def test_logprobs_come_when_they_are_asked_for(client: httpx.Client) -> None:
    body = ASK | {"top_logprobs": 2, "include": ["message.output_text.logprobs"]}
    part = client.post("/v1/responses", json=body).json()["output"][0]["content"][0]
    assert [x["token"] for x in part["logprobs"]] == ["Hi", " you"]
    assert part["logprobs"][0]["bytes"] == [72, 105]
    assert len(part["logprobs"][0]["top_logprobs"]) == 2
    got = events(client.post("/v1/responses", json=body | {"stream": True}))
    deltas = [e for e in got if e["type"] == "response.output_text.delta"]
    assert [e["logprobs"][0]["token"] for e in deltas] == ["Hi", " you"]


def test_an_error_in_a_stream_is_told_twice_and_billed(
    served: Served, client: httpx.Client
) -> None:
    body = ASK | {"model": "dies", "stream": True, "user": "dying response"}
    got = events(client.post("/v1/responses", json=body))
    error, failed = got[-2:]
    assert (error["type"], error["code"]) == ("error", "MODEL_UNAVAILABLE")
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] == "server_error"
    assert failed["response"]["error"]["message"] == error["message"] != ""
    records = [r for r in read_records(served.data_dir) if r["user"] == "dying response"]
    assert [(r["endpoint"], r["end"], r["completion_tokens"]) for r in records] == [
        ("responses", "engine_died", 3)
    ]
