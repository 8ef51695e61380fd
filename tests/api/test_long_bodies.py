"""A body that is wrong in every place costs no more than one that is wrong in one."""

import json
import random
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from server.api import body_members
from server.api.body_members import (
    MAX_BARE_BYTES,
    MAX_ESCAPES,
    MAX_NAME_BYTES,
    MAX_NUMBERS,
    MAX_VALUES,
    members_of,
)
from server.api.chat.wire import CHAT
from server.api.completions import COMPLETIONS
from server.api.decode import IN_A_THREAD_BYTES, decode
from server.api.embeddings import EMBEDDINGS
from server.api.messages.wire import COUNT_TOKENS, MESSAGES
from server.api.ollama.wire import (
    NAMED_MODEL,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
)
from server.api.responses.wire import RESPONSES
from server.api.tokenize import TOKENIZE
from server.errors import ApiError
from tests.support.serving import scripted, server_of, wait_until

OLLAMA = (OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED, OLLAMA_EMBEDDINGS, NAMED_MODEL)
ADAPTERS = (
    *(CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, TOKENIZE),
    *(MESSAGES, COUNT_TOKENS),
    *OLLAMA,
)
HALF = 2**19
MOST_S = 0.5
"""Of processor time; the old way took 2.7 s and more of it for each of these."""
served = server_of(scripted("m"))


def many(item: str) -> str:
    return f"[{','.join([item] * (HALF // (len(item) + 1)))}]"


def chat(**fields: str) -> bytes:
    """Members as JSON text."""
    members = {"model": '"m"', "messages": '[{"role":"user","content":"x"}]'} | fields
    return f"{{{','.join(f'{json.dumps(k)}:{v}' for k, v in members.items())}}}".encode()


def messages(content: str) -> bytes:
    return chat(messages=f'[{{"role":"user","content":{content}}}]')


def members(form: str) -> str:
    return ",".join(form % i for i in range(HALF // 12))


NAME = "a" * MAX_NAME_BYTES
BAD, GOOD, NUMBERS = '"%d":"x"', '"%d":1', many("0")
WRONG: dict[str, tuple[TypeAdapter[Any], bytes]] = {
    "parts": (CHAT, messages(many("0"))),
    "messages": (CHAT, chat(messages=many("0"))),
    "empty messages": (CHAT, chat(messages=many("{}"))),
    "tool calls": (CHAT, chat(messages=f'[{{"role":"assistant","tool_calls":{NUMBERS}}}]')),
    "tools": (CHAT, chat(tools=many("0"))),
    "stop": (CHAT, chat(stop=many("0"))),
    "logit_bias": (CHAT, chat(logit_bias=f"{{{members(BAD)}}}")),
    "right logit_bias": (CHAT, chat(logit_bias=f"{{{members(GOOD)}}}")),
    "choice": (CHAT, chat(structured_outputs=f'{{"choice":{NUMBERS}}}')),
    "prompts": (COMPLETIONS, chat(prompt=many("{}"))),
    "token ids": (COMPLETIONS, chat(prompt=many("-1"))),
    "inputs": (EMBEDDINGS, chat(input=many("{}"))),
    "items": (RESPONSES, chat(input=many("0"))),
    "item parts": (RESPONSES, chat(input=f'[{{"role":"user","content":{NUMBERS}}}]')),
    "include": (RESPONSES, chat(input='"x"', include=many("0"))),
    "counted messages": (TOKENIZE, chat(messages=many("0"))),
    "turns": (MESSAGES, chat(max_tokens="1", messages=many("0"))),
    "blocks": (
        MESSAGES,
        chat(max_tokens="1", messages=f'[{{"role":"user","content":{NUMBERS}}}]'),
    ),
    "Ollama's messages": (OLLAMA_CHAT, chat(messages=many("0"))),
    "Ollama's calls": (
        OLLAMA_CHAT,
        chat(messages=f'[{{"role":"assistant","tool_calls":{NUMBERS}}}]'),
    ),
    "Ollama's stop": (OLLAMA_GENERATE, chat(options=f'{{"stop":{NUMBERS}}}')),
    "Ollama's inputs": (OLLAMA_EMBED, chat(input=many("{}"))),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_first_error_ends_the_search(case: str) -> None:
    adapter, body = WRONG[case]
    began = time.thread_time()
    with pytest.raises(ApiError) as refused:
        decode(adapter, body)
    assert time.thread_time() - began < MOST_S
    assert refused.value.status == 400
    assert refused.value.param


@pytest.mark.parametrize(
    ("size", "param"), [(9, f"logit_bias.{'a' * 9}"), (10, "logit_bias"), (2**22, "logit_bias")]
)
def test_a_name_that_no_field_has_is_left_out_whatever_its_length(size: int, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode(CHAT, chat(logit_bias=f'{{"{"a" * size}":"x"}}'))
    assert refused.value.param == param
    assert refused.value.details is not None
    assert "token ids" in str(refused.value.details["expected"])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_list_stops_at_its_first_error_and_every_list_and_object_has_a_bound(
    adapter: TypeAdapter[Any],
) -> None:
    for schema in lists_and_objects(adapter.core_schema):
        assert schema.get("max_length"), schema
        if schema["type"] == "list":
            assert schema.get("fail_fast"), schema


def lists_and_objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if schema.get("type") in ("list", "dict"):
            yield schema
        for part in schema.values():
            yield from lists_and_objects(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from lists_and_objects(part)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[" * (MAX_VALUES + 1), True),
        ("[" * MAX_VALUES, False),
        ('"",' * (MAX_VALUES + 1), True),
        ('"' + "[" * (MAX_VALUES + 1) + '"', False),
        ('"\\"' + "[" * (MAX_VALUES + 1) + '"', False),
        ('"\\\\"' + "[" * (MAX_VALUES + 1), True),
        ('"' + "[" * (MAX_VALUES + 1), False),
        ("0," * (MAX_NUMBERS + 1), True),
        ('"' + "," * (MAX_NUMBERS + 1) + '"', False),
        ("1" * (MAX_BARE_BYTES + 1), True),
        ("1" * MAX_BARE_BYTES, False),
        ('"' + "1" * (MAX_BARE_BYTES + 1) + '"', False),
        ('"' + "\\n" * (MAX_ESCAPES + 1) + '"', True),
        ('"' + "\\n" * MAX_ESCAPES + '"', False),
        ('"' + "\\\\" * (MAX_ESCAPES + 1) + '"', True),
        ('"' + "\\\\" * MAX_ESCAPES + '"', False),
        ('"' + '\\"' * (MAX_ESCAPES + 1) + '"', True),
        ('"' + "\\u00e6" * (MAX_ESCAPES + 1) + '"', True),
        (f'{{"{NAME}a":1}}', True),
        (f'{{"{NAME}":1}}', False),
        (f'{{"{NAME}a"{" " * 9}:1}}', True),
        (f'{{"a":1,"{NAME}\\u00e6":1,"b":1}}', True),
        (f'{{"a":"{NAME}a","b":1}}', False),
        (f'["{NAME}a", 7, "b:"]', False),
        (f'{{"{NAME * 40}":1}}', True),
        (f'["{NAME * 40}:"]', False),
    ],
)
def test_members_are_counted_outside_of_strings(body: str, expected: bool) -> None:
    assert members_of(body.encode()).is_too_much is expected


def test_a_long_name_is_seen_wherever_a_step_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_members, "MAX_NAME_BYTES", 5)
    for body, is_seen in (
        (b'{"a":{"b":"value","longer" \n :"x"}}', True),
        (b'{"longer":1}', True),
        (b'{"a":"longer" ,"b":1}', False),
        (b'["longer" , "b"  : 1]', False),
        (b'{"short":"longer:"}', False),
    ):
        for step in range(1, len(body) + 1):
            monkeypatch.setattr(body_members, "_STEP_BYTES", step)
            assert members_of(body).has_long_name is is_seen, (body, step)


@pytest.mark.parametrize(
    "body",
    [
        chat(logit_bias=f'{{"{"a" * 2**20}":"x"}}'),
        chat(structured_outputs=f'{{"json":{{"{"a" * 2**20}":1}}}}'),
        chat(tools=f'[{{"type":"function","function":{{"name":"f","{"a" * 2**20}":1}}}}]'),
        chat(**{"a" * 2**20: "1"}),
    ],
    ids=["a bias", "a schema's key", "a tool's member", "an unknown field"],
)
def test_a_long_name_is_refused_before_it_is_parsed(served: Any, body: bytes) -> None:
    for path in ("chat/completions", "completions", "responses", "embeddings", "tokenize"):
        answer = httpx.post(f"{served.url}/v1/{path}", headers=served.headers, content=body)
        assert answer.status_code == 400
        assert f"no member's name of more than {MAX_NAME_BYTES} bytes" in answer.text
        assert len(answer.content) < 2_000


PARTS = ('"', "\\", "\\\\", '\\"', "[", "{", ",", "NaN", "Infinity", "-", "x" * 40, "\\u00e6", "é")


@pytest.mark.parametrize("seed", range(40))
def test_steps_count_what_one_look_counts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(seed)
    texts = ["".join(drawn.choices(PARTS, k=drawn.randrange(8))) for _ in range(40)]
    body = json.dumps([{text: text, "n": [1, float("nan")]} for text in texts]).encode()
    body = body.replace(b"NaN", drawn.choice([b"NaN", b"0"]))
    whole = members_of(body)
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b'"', body)
    assert whole.values == sum(map(bare.count, (b'"', b"[", b"{")))
    assert whole.commas == bare.count(b",")
    assert whole.bare_bytes == len(bare.replace(b'"', b""))
    assert whole.escapes == len(re.findall(rb"\\.", body))
    assert bool(whole.constant) is (b"NaN" in bare)
    for step in (1, 2, 3, 7, 64):
        monkeypatch.setattr(body_members, "_STEP_BYTES", step)
        assert members_of(body) == whole


def test_a_constant_that_is_no_number_is_refused_in_a_long_body_too(served: Any) -> None:
    text = "NaN and Infinity " * IN_A_THREAD_BYTES
    for value, status in (("NaN", 400), ("-Infinity", 400), ("1", 200)):
        body = messages(json.dumps(text[:70_000]))[:-1] + f',"temperature":{value}}}'.encode()
        url = served.url + "/v1/chat/completions"
        answer = httpx.post(url, headers=served.headers, content=body)
        assert answer.status_code == status
        assert status == 200 or f"{value} is no JSON number" in answer.text


@pytest.mark.parametrize("item", ["[]", "{}", '""', "0", '{"a":[]}'])
def test_a_long_body_of_small_members_is_refused(served: Any, item: str) -> None:
    body = chat(unknown=f"[{','.join([item] * (MAX_NUMBERS + 2))}]")
    answer = httpx.post(served.url + "/v1/chat/completions", headers=served.headers, content=body)
    assert answer.status_code == 400


def test_a_long_text_is_served() -> None:
    text = 'He said "no", [twice]; {really}. ' * (2 * IN_A_THREAD_BYTES // 32)
    assert not members_of(json.dumps(text).encode()).is_too_much


def test_unknown_members_are_counted_up_to_32(served: Any) -> None:
    before = unknown_fields(served)
    body = json.loads(chat()) | {f"unknown_{i}": 1 for i in range(1000)}
    url = served.url + "/v1/chat/completions"
    assert httpx.post(url, headers=served.headers, json=body).status_code == 200
    wait_until(lambda: unknown_fields(served) - before == 32, "32 of them are counted")


def unknown_fields(served: Any) -> float:
    text = httpx.get(served.url + "/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("fjord_unknown_fields_total")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
