"""/v1/completions as OpenAI's client uses it: prompts of every form, choices, echo, logprobs."""

from typing import Any

import httpx
import openai
import pytest

from tests.support.serving import Served, read_records, scripted, server_of
from tests.support.wire_checks import assert_error, events

ASK: dict[str, Any] = {"model": "m", "prompt": "Say it"}

served = server_of(
    scripted("m"),
    scripted("long", text="word " * 100),
    scripted("tiny", context_tokens=8, output_tokens=8),
    scripted("dies", text="word " * 100, die_after_tokens=12, token_delay_s=0.001),
)


def test_a_whole_completion_has_exactly_openais_shape(client: httpx.Client) -> None:
    body = client.post("/v1/completions", json=ASK).json()
    assert body.pop("id").startswith("cmpl-")
    assert body.pop("created") > 0
    assert body == {
        "object": "text_completion",
        "model": "m",
        "choices": [{"text": "Say it", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    }


def test_a_stream_says_the_same_in_pieces(client: httpx.Client) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = events(client.post("/v1/completions", json=ASK | asked).text)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    choices = [c["choices"][0] for c in chunks[:-1]]
    assert all(set(c) == {"text", "index", "logprobs", "finish_reason"} for c in choices)
    assert "".join(c["text"] for c in choices) == "Say it"
    assert [c["finish_reason"] for c in choices] == [None, None, "stop"]
    assert {c["id"] for c in chunks} == {chunks[0]["id"]}
    assert all(c["usage"] is None for c in chunks[:-1])


def test_sixteen_tokens_are_the_default(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model="long", prompt="go")
    assert answer.usage
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("one", ["one", "one"]),
        (["one", "two words"], ["one", "one", "two words", "two words"]),
        ([5, 6, 7], ["", ""]),
        ([[5, 6], [7]], ["", "", "", ""]),
    ],
    ids=["text", "texts", "ids", "id arrays"],
)
def test_every_prompt_has_n_choices_in_order(
    sdk: openai.OpenAI, prompt: Any, texts: list[str], stream: bool
) -> None:
    said = [""] * len(texts)
    ends: dict[int, Any] = {}
    if stream:
        for chunk in sdk.completions.create(model="m", prompt=prompt, n=2, stream=True):
            choice = chunk.choices[0]
            said[choice.index] += choice.text
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
    else:
        answer = sdk.completions.create(model="m", prompt=prompt, n=2)
        assert [c.index for c in answer.choices] == list(range(len(texts)))
        said = [c.text for c in answer.choices]
        ends = {c.index: c.finish_reason for c in answer.choices}
    assert said == texts
    assert ends == dict.fromkeys(range(len(texts)), "stop")


def test_several_prompts_are_one_record_with_all_their_tokens(
    served: Served, client: httpx.Client
) -> None:
    many = {"prompt": ["a b", "c", "d e f"], "n": 2, "user": "many-prompts"}
    body = client.post("/v1/completions", json=ASK | many).json()
    assert body["usage"] == {"prompt_tokens": 6, "completion_tokens": 18, "total_tokens": 24}
    records = [r for r in read_records(served.data_dir) if r["user"] == "many-prompts"]
    assert [(r["endpoint"], r["prompt_tokens"], r["completion_tokens"]) for r in records] == [
        ("completions", 6, 18)
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_echo_puts_the_prompt_before_the_answer(sdk: openai.OpenAI, stream: bool) -> None:
    if stream:
        chunks = sdk.completions.create(model="m", prompt="Say it", echo=True, stream=True)
        assert "".join(c.choices[0].text for c in chunks) == "Say itSay it"
    else:
        answer = sdk.completions.create(model="m", prompt="Say it", echo=True)
        assert answer.choices[0].text == "Say itSay it"


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_arrays_side_by_side(sdk: openai.OpenAI, stream: bool) -> None:
    prompt = "Så fint 🎉 der"
    tokens: list[str] = []
    offsets: list[int] = []
    top: list[dict[str, float]] = []
    if stream:
        for chunk in sdk.completions.create(model="m", prompt=prompt, logprobs=2, stream=True):
            if found := chunk.choices[0].logprobs:
                tokens += found.tokens or []
                offsets += found.text_offset or []
                top += found.top_logprobs or []
    else:
        found = sdk.completions.create(model="m", prompt=prompt, logprobs=2).choices[0].logprobs
        assert found
        tokens, offsets = found.tokens or [], found.text_offset or []
        top = found.top_logprobs or []
        assert found.token_logprobs == [-0.1] * 4
    assert "".join(tokens) == prompt
    assert [prompt[o : o + len(t)] for o, t in zip(offsets, tokens, strict=True)] == tokens
    assert all(t in entry and len(entry) == 2 for t, entry in zip(tokens, top, strict=True))


def test_stop_and_seed_and_null_work_as_in_chat(client: httpx.Client) -> None:
    r = client.post("/v1/completions", json=ASK | {"prompt": "a b c d", "stop": [" c", "z"]})
    assert r.json()["choices"][0]["text"] == "a b"
    from server.api.completions import CompletionRequest

    optional = [n for n, f in CompletionRequest.model_fields.items() if not f.is_required()]
    r = client.post("/v1/completions", json=ASK | dict.fromkeys(optional))
    assert r.json()["choices"][0]["text"] == "Say it"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [1, "a"]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": ["x"] * 129}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 5000}, "max_tokens"),
        ({"n": 0}, "n"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    client: httpx.Client, change: dict[str, Any], field: str
) -> None:
    error = assert_error(
        client.post("/v1/completions", json=ASK | change), 400, "INVALID_PARAMETER", field
    )
    assert error["details"]["field"] == field
    assert error["details"]["expected"]


def test_a_prompt_over_the_context_names_the_prompt(client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": ["a", "b " * 20]}
    error = assert_error(
        client.post("/v1/completions", json=body), 400, "CONTEXT_LENGTH_EXCEEDED", "prompt"
    )
    assert error["details"]["context_tokens"] == 8


def test_an_engine_that_dies_ends_all_prompts_and_bills_what_it_made(
    served: Served, client: httpx.Client
) -> None:
    body = {"model": "dies", "prompt": ["a", "b", "c"], "stream": True, "max_tokens": 90}
    chunks = events(client.post("/v1/completions", json=body | {"user": "dying"}).text)
    assert chunks[-1]["error"]["code"] == "MODEL_UNAVAILABLE"
    records = [r for r in read_records(served.data_dir) if r["user"] == "dying"]
    assert [r["end"] for r in records] == ["engine_died"]
    assert 0 < records[0]["completion_tokens"] <= 36
