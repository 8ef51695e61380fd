"""Seeded random request bodies: good ones of every endpoint, broken in every way we know."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]

_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GOOD: tuple[tuple[str, Body], ...] = (
    (
        "/v1/chat/completions",
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": "Hi you"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": "{}"},
                        }
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            ],
            "temperature": 0.7,
            "top_p": 0.9,
            "n": 2,
            "stop": ["x", "y"],
            "seed": 7,
            "max_tokens": 20,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "logit_bias": {"17": 3.5},
            "logprobs": True,
            "top_logprobs": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
            "user": "u",
            "agent_id": "a",
            "region": "oslo",
        },
    ),
    (
        "/v1/llm/chat",
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Hei 🎉 på deg"}],
            "tools": [_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": True,
            "chat_template_kwargs": {"enable_thinking": False},
            "min_tokens": 2,
            "ignore_eos": True,
            "max_completion_tokens": 9,
            "metadata": {"k": "v"},
        },
    ),
    (
        "/v1/llm/chat/completions",
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Tell"}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "strict": True, "schema": _SCHEMA},
            },
            "min_p": 0.1,
            "top_k": 40,
            "repetition_penalty": 1.1,
        },
    ),
    (
        "/v1/chat/completions",
        {
            "model": "thinks",
            "messages": [{"role": "user", "content": "Tell"}],
            "reasoning_effort": "low",
            "structured_outputs": {"choice": ["a", "b"]},
        },
    ),
    (
        "/v1/completions",
        {
            "model": "m",
            "prompt": ["one two", "three"],
            "n": 2,
            "logprobs": 2,
            "echo": False,
            "best_of": 2,
            "suffix": None,
            "stream": False,
        },
    ),
    (
        "/v1/responses",
        {
            "model": "thinks",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Where?"}]},
                {"type": "reasoning", "id": "r", "summary": []},
                {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "rain"},
            ],
            "instructions": "Be kind.",
            "tools": [{"type": "function", "name": "weather", "parameters": {}, "strict": False}],
            "tool_choice": "auto",
            "text": {"format": {"type": "json_schema", "name": "s", "schema": _SCHEMA}},
            "reasoning": {"effort": "low", "summary": "auto"},
            "max_output_tokens": 30,
            "include": ["message.output_text.logprobs"],
            "stream": True,
        },
    ),
    (
        "/v1/embeddings",
        {"model": "vectors", "input": ["a b", "c"], "encoding_format": "base64", "dimensions": 4},
    ),
    (
        "/v1/rerank",
        {
            "model": "ranks",
            "query": "a b",
            "documents": ["a", {"text": "b", "page": 1}],
            "top_n": 1,
            "return_documents": True,
            "rank_fields": ["text"],
            "max_tokens_per_doc": 4,
        },
    ),
    ("/v1/score", {"model": "ranks", "text_1": ["a", "b"], "text_2": ["c", {"text": "d"}]}),
    (
        "/v1/tokenize",
        {"model": "m", "messages": [{"role": "user", "content": "Count"}], "tools": [_TOOL]},
    ),
)

JUNK: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.0,
    -0.0,
    1e-320,
    1e308,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "auto",
    "null",
    "x" * 5000,
    "\x00",
    "\ufeff",
    "👨‍👩‍👧‍👦",
    "\u202e\u0000\ud7ff",
    "'; DROP TABLE keys; --",
    [],
    [None],
    [[]],
    [1, "a", None],
    {},
    {"type": "function"},
    {"type": ["string", "null"]},
    {"minItems": "x", "type": "array"},
    {"enum": []},
    {"$ref": "#/nowhere"},
    {"": {"": ""}},
)


def body(rng: random.Random) -> tuple[str, bytes]:
    """A path, and a body that may be good, wrong, or no JSON at all."""
    path, good = GOOD[rng.randrange(len(GOOD))]
    wire = copy.deepcopy(good)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_CHANGES)(wire, rng)
    raw = json.dumps(wire, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return path, _broken(raw, rng) if rng.random() < 0.15 else raw


def _places(part: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """(container, key) of everything in `part`."""
    items = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in items:
        found.append((part, key))
        if isinstance(value, dict | list):
            _places(value, found)
    return found


def _place(wire: Body, rng: random.Random) -> tuple[Any, Any]:
    return rng.choice(_places(wire, []) or [(wire, "model")])


def _replace(wire: Body, rng: random.Random) -> None:
    container, key = _place(wire, rng)
    container[key] = copy.deepcopy(rng.choice(JUNK))


def _swap(wire: Body, rng: random.Random) -> None:
    (a, i), (b, k) = _place(wire, rng), _place(wire, rng)
    one, other = copy.deepcopy(a.get(i) if isinstance(a, dict) else a[i]), b[k]
    a[i], b[k] = copy.deepcopy(other), one


def _remove(wire: Body, rng: random.Random) -> None:
    container, key = _place(wire, rng)
    del container[key]


def _wrap(wire: Body, rng: random.Random) -> None:
    container, key = _place(wire, rng)
    value = container[key]
    for _ in range(rng.choice((1, 2, 60, 300))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    container[key] = value


def _repeat(wire: Body, rng: random.Random) -> None:
    container, key = _place(wire, rng)
    value = container[key]
    if isinstance(value, list | str):
        container[key] = value * rng.choice((2, 20, 200))


def _borrow(wire: Body, rng: random.Random) -> None:
    """A field of another endpoint, or one that nobody knows."""
    _, other = GOOD[rng.randrange(len(GOOD))]
    name = rng.choice([*other, "functions", "best_of", "guided_json", "x_private", "modalities"])
    wire[name] = copy.deepcopy(other.get(name, rng.choice(JUNK)))


_CHANGES: tuple[Callable[[Body, random.Random], None], ...] = (
    _replace,
    _replace,
    _replace,
    _swap,
    _remove,
    _wrap,
    _repeat,
    _borrow,
)


def _broken(raw: bytes, rng: random.Random) -> bytes:
    """Bytes cut, put in, or twice: mostly no JSON any more."""
    at = rng.randrange(len(raw) + 1)
    match rng.randrange(5):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + rng.randbytes(rng.randrange(1, 4)) + raw[at:]
        case 2:
            return raw[:at] + rng.choice((b"\\ud800", b"\xed\xa0\x80", b"NaN", b'"')) + raw[at:]
        case 3:
            return raw[:-1] + b',"model":"m","model":5}'
        case _:
            return raw.replace(b"}", b"]", 1)
