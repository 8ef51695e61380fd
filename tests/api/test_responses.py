"""/v1/responses as OpenAI's client uses it: members, events in their order, forms, ends."""

from typing import Any

import httpx
import openai
from pydantic import BaseModel

from tests.support.responses import ASK, MODELS, WEATHER, events
from tests.support.serving import Served, read_records, scripted, server_of

served = server_of(
    *MODELS,
    scripted("dies", text="word " * 50, die_after_tokens=3, token_delay_s=0.001),
)


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
        "store": True,
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


def test_openais_stream_helper_puts_the_response_together(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="m", input="one two three") as s:
        text = "".join(e.delta for e in s if e.type == "response.output_text.delta")
        final = s.get_final_response()
    assert text == final.output_text == "one two three"
    assert final.usage
    assert final.usage.output_tokens == 4


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
