"""The fine print of a chat body: every form that is right works, every wrong one is named."""

import json
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from engines.registry.spec import ModelSpec
from server.api.chat.request import chat_request
from server.api.chat.template_kwargs import RENDERER_NAMES
from server.api.chat.wire import ChatRequest
from server.errors import ApiError
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error, events

PATH = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi you"}]}
FAMILY = "Hei 👨‍👩‍👧‍👦 på deg 你好"

served = server_of(
    scripted("m"),
    scripted("thinks", reasoning=Reasoning(), reasoning_text="So so.", text="Oslo it is"),
    scripted("tools", tool_parser="hermes"),
    scripted("fixed", chat_template_kwargs={"enable_thinking": False}),
)


def post(client: httpx.Client, raw: str | bytes) -> httpx.Response:
    return client.post(PATH, content=raw, headers={"Content-Type": "application/json"})


def saying(content: Any, **more: Any) -> dict[str, Any]:
    return ASK | {"messages": [{"role": "user", "content": content}]} | more


def spec(**fields: Any) -> ModelSpec:
    return scripted("m", **fields)


def asked(change: dict[str, Any], **fields: Any) -> Any:
    """The request that an engine gets for a body."""
    return chat_request(ChatRequest.model_validate(ASK | change), spec(**fields), "id")


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


def test_the_last_of_duplicate_keys_counts(client: httpx.Client) -> None:
    text = json.dumps(ASK)[:-1]
    assert post(client, text + ', "max_tokens": 1, "max_tokens": 2}').json()["usage"][
        "completion_tokens"
    ] == 2  # fmt: skip
    assert post(client, text + ', "model": "m", "model": 5}').status_code == 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ["temperature", "metadata", "nobody_knows", "logit_bias"])
def test_what_is_no_json_number_is_refused_everywhere(
    client: httpx.Client, number: str, place: str
) -> None:
    value = number if place == "temperature" else f'{{"1": {number}}}'
    r = post(client, json.dumps(ASK)[:-1] + f', "{place}": {value}}}')
    error = assert_error(r, 400, "INVALID_PARAMETER")
    assert f"{number} is no JSON number" in error["message"]


def test_the_words_nan_and_infinity_may_be_said(client: httpx.Client) -> None:
    r = client.post(PATH, json=saying("NaN is not Infinity"))
    assert r.json()["choices"][0]["message"]["content"] == "NaN is not Infinity"


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


def test_greedy_choices_and_a_top_p_of_zero_take_the_likeliest_token() -> None:
    for change in ({"top_p": 0}, {"temperature": 0, "n": 3}, {"temperature": 0, "top_p": 0}):
        s = asked(change).sampling
        assert (s.top_k, s.top_p) == (1, 1.0)
        assert s.temperature > 0
    s = asked({"temperature": 0}).sampling
    assert (s.temperature, s.top_k) == (0, 0)


def test_every_seed_is_one_that_engines_take() -> None:
    seeds = [asked({"seed": seed}).sampling.seed for seed in (-1, 0, -(2**63), 2**63 - 1)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds[0] != seeds[1]
    assert asked({}).sampling.seed is None


def test_an_earlier_trace_is_given_back_to_the_template() -> None:
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y", "reasoning_content": "because"},
    ]
    assert asked({"messages": messages}).messages[1]["reasoning_content"] == "because"


def test_switches_come_from_alias_then_effort_then_where_it_is_free_from_the_caller() -> None:
    alias: dict[str, Any] = {
        "reasoning": Reasoning(),
        "chat_template_kwargs": {"enable_thinking": True, "style": "a"},
        "free_chat_template_kwargs": ("enable_thinking",),
        "reasoning_efforts": {"none": {"enable_thinking": False}},
    }
    assert asked({}, **alias).chat_template_kwargs == {"enable_thinking": True, "style": "a"}
    off = asked({"reasoning_effort": "none"}, **alias).chat_template_kwargs
    assert off == {"enable_thinking": False, "style": "a"}
    own = {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}
    assert asked(own, **alias).chat_template_kwargs == {"enable_thinking": True, "style": "a"}
    with pytest.raises(ApiError) as e:
        asked({"reasoning_effort": "high"}, **alias)
    assert e.value.param == "reasoning_effort"
    assert e.value.details
    assert e.value.details["expected"] == "none"


def test_the_operators_switches_are_fixed_and_others_are_the_callers() -> None:
    alias: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}
    own = {"chat_template_kwargs": {"enable_thinking": False, "style": "b"}}
    assert asked(own, **alias).chat_template_kwargs == {"enable_thinking": False, "style": "b"}
    with pytest.raises(ApiError) as e:
        asked({"chat_template_kwargs": {"enable_thinking": True}}, **alias)
    assert (e.value.status, e.value.param) == (400, "chat_template_kwargs.enable_thinking")


TEMPLATED = {
    "/v1/chat/completions": {"messages": ASK["messages"]},
    "/v1/responses": {"input": "Hi you"},
    "/v1/tokenize": {"messages": ASK["messages"]},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", TEMPLATED)
def test_every_templated_endpoint_holds_the_operators_switches(
    client: httpx.Client, path: str, stream: bool
) -> None:
    streamed = {} if "tokenize" in path else {"stream": stream}
    asked = {"model": "fixed", **TEMPLATED[path], **streamed}
    for switches, field in (
        ({"enable_thinking": True}, "enable_thinking"),
        ({"tools": []}, "tools"),
    ):
        r = client.post(path, json=asked | {"chat_template_kwargs": switches})
        assert_error(r, 400, "INVALID_PARAMETER", f"chat_template_kwargs.{field}")
    free = {"chat_template_kwargs": {"enable_thinking": False, "style": "b"}}
    assert client.post(path, json=asked | free).status_code == 200


@pytest.mark.parametrize("name", sorted(RENDERER_NAMES))
def test_a_renderers_own_names_are_no_switches(name: str) -> None:
    with pytest.raises(ApiError) as e:
        asked({"chat_template_kwargs": {name: "x"}})
    assert (e.value.status, e.value.param) == (400, f"chat_template_kwargs.{name}")


def test_the_aliass_own_system_prompt_stands_first_where_none_is_sent() -> None:
    assert asked({}, system_prompt="Be kind.").messages[0] == {
        "role": "system",
        "content": "Be kind.",
    }
    own = {"messages": [{"role": "developer", "content": "No."}, *ASK["messages"]]}
    assert asked(own, system_prompt="Be kind.").messages[0]["content"] == "No."


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
