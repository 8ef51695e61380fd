"""The fine print of a chat body: every form that is right works."""

import json

import httpx
import pytest

from engines.base import Reasoning
from tests.support.chat_bodies import ASK, FAMILY, PATH, post, saying
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error, events

served = server_of(
    scripted("m"),
    scripted("thinks", reasoning=Reasoning(), reasoning_text="So so.", text="Oslo it is"),
    scripted("tools", tool_parser="hermes"),
)


def test_sixteen_stop_strings_count_and_none_is_in_the_answer(client: httpx.Client) -> None:
    stops = [f"<{i}>" for i in range(15)] + [" three"]
    body = saying("one two three four", stop=stops)
    assert client.post(PATH, json=body).json()["choices"][0]["message"]["content"] == "one two"


def test_streamed_choices_are_told_apart_by_index(client: httpx.Client) -> None:
    body = saying("a b c", n=16, stream=True)
    said = [""] * 16
    ends = []
    for chunk in events(client.post(PATH, json=body).text):
        for choice in chunk["choices"]:
            said[choice["index"]] += choice["delta"].get("content", "")
            if choice["finish_reason"]:
                ends.append(choice["index"])
    assert said == ["a b c"] * 16
    assert sorted(ends) == list(range(16))


def test_logprobs_have_the_bytes_of_every_token(client: httpx.Client) -> None:
    body = saying(FAMILY, logprobs=True, top_logprobs=20)
    whole = client.post(PATH, json=body).json()["choices"][0]["logprobs"]
    raw = bytes(b for x in whole["content"] for b in x["bytes"])
    assert raw.decode() == FAMILY
    assert all(len(x["top_logprobs"]) == 20 for x in whole["content"])
    chunks = events(client.post(PATH, json=body | {"stream": True}).text)
    streamed = [x for c in chunks for x in c["choices"][0].get("logprobs", {}).get("content", [])]
    assert streamed == whole["content"]


def test_logprobs_are_those_of_the_answer_not_of_the_thought(client: httpx.Client) -> None:
    body = ASK | {"model": "thinks", "logprobs": True}
    whole = client.post(PATH, json=body).json()["choices"][0]["logprobs"]["content"]
    assert "".join(x["token"] for x in whole) == "Oslo it is"
    chunks = events(client.post(PATH, json=body | {"stream": True}).text)
    streamed = [x for c in chunks for x in c["choices"][0].get("logprobs", {}).get("content", [])]
    assert streamed == whole


def test_the_streams_root_tells_the_first_choices_trace_alone(client: httpx.Client) -> None:
    body = ASK | {"model": "thinks", "n": 3, "stream": True}
    chunks = events(client.post(PATH, json=body).text)
    root = [c["model_output_metadata"]["reasoning"] for c in chunks if "model_output_metadata" in c]
    assert "".join(root) == "So so."
    traces = ["", "", ""]
    for choice in (c["choices"][0] for c in chunks):
        traces[choice["index"]] += choice["delta"].get("reasoning_content", "")
    assert traces == ["So so."] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_any_text_comes_back_as_it_was(client: httpx.Client, stream: bool) -> None:
    for text in (FAMILY, "\u0000\u001f", "\u2028", "</think>", '"\\', "", "e\u0301"):
        r = client.post(PATH, json=saying([{"type": "text", "text": text}], stream=stream))
        if stream:
            got = "".join(c["choices"][0]["delta"].get("content", "") for c in events(r.text))
        else:
            got = r.json()["choices"][0]["message"]["content"]
        assert got == text


def test_a_million_characters_are_read_or_counted(client: httpx.Client) -> None:
    r = client.post(PATH, json=saying("x" * 1_000_000))
    assert r.status_code == 200
    assert len(r.json()["choices"][0]["message"]["content"]) == 1_000_000
    r = client.post(PATH, json=saying("x " * 500_000))
    error = assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", "messages")
    assert error["details"]["prompt_tokens"] > 500_000


def test_null_is_not_given_also_inside(client: httpx.Client) -> None:
    function = {"name": "f", "description": None, "parameters": None, "strict": None}
    body = {
        "model": "tools",
        "messages": [
            {"role": "user", "content": "x", "name": None, "tool_calls": None},
            {"role": "assistant", "content": None, "tool_calls": None, "tool_call_id": None},
        ],
        "stream_options": {"include_usage": None},
        "tools": [{"type": "function", "function": function}],
        "response_format": {"type": "text", "json_schema": None},
        "structured_outputs": {"regex": None},
    }
    assert client.post(PATH, json=body).status_code == 200


def test_the_last_of_duplicate_keys_counts(client: httpx.Client) -> None:
    text = json.dumps(ASK)[:-1]
    assert post(client, text + ', "max_tokens": 1, "max_tokens": 2}').json()["usage"][
        "completion_tokens"
    ] == 2  # fmt: skip
    assert post(client, text + ', "model": "m", "model": 5}').status_code == 400


def test_the_words_nan_and_infinity_may_be_said(client: httpx.Client) -> None:
    r = client.post(PATH, json=saying("NaN is not Infinity"))
    assert r.json()["choices"][0]["message"]["content"] == "NaN is not Infinity"
