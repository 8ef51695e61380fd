"""Bytes -> a wire type in one pass; a wrong field is named with what would be right."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from server.errors import ApiError

T = TypeVar("T")
_LONGEST_NAMED_BYTES = 65_536
_STEP = re.compile(r"[.\[]")

_EXPECTED = {
    "missing": "a value",
    "string_type": "a string",
    "string_unicode": "a string",
    "bool_type": "true or false",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing_size": "an integer of at most 64 bits",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
    "not_storable": "at most {most} bytes, none of them zero",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "a string matching {pattern}",
}
_BY_NAME = {
    "temperature": "a number from 0 to 2",
    "top_p": "a number from 0 to 1",
    "min_p": "a number from 0 to 1",
    "presence_penalty": "a number from -2 to 2",
    "frequency_penalty": "a number from -2 to 2",
    "repetition_penalty": "a number above 0, at most 2",
    "max_tokens": "an integer of at least 1",
    "max_completion_tokens": "an integer of at least 1",
    "max_output_tokens": "an integer of at least 1",
    "n": "an integer from 1 to 16",
    "top_logprobs": "an integer from 0 to 20",
    "stop": "a string, or an array of at most 16 strings, none empty",
    "logit_bias": "an object of at most 1024 token ids with numbers from -100 to 100",
    "role": "one of 'system', 'developer', 'user', 'assistant', 'tool'",
    "content": "a string or an array of content parts",
    "tool_choice": "'none', 'auto', 'required' or a tool named by type and function.name",
    "prompt": "a string, an array of strings, or one or several arrays of token ids",
    "encoding_format": "'float' or 'base64'",
}
"""What a field takes, in one phrase, where several checks together say it worse."""
_BRANCHES = frozenset({"str", "int", "bool", "float", "none", "constrained_str"})


IN_A_THREAD_BYTES = 256 * 1024
MAX_VALUES, MAX_COMMAS = 65_536, 524_288
"""Strings, arrays and objects, and commas (numbers, then) in a body above that. Python's objects of
them are made in one step that no other thread interrupts: some 0.5 and 0.1 µs each."""
_LOOKED_AT = 64
"""Of a wrong body's errors: the first wrong field's are among them."""


async def decoded(adapter: TypeAdapter[T], body: bytes) -> T:
    """As `decode`; a long body takes no other request's time. Raises ApiError 400."""
    if len(body) <= IN_A_THREAD_BYTES:
        return decode(adapter, body)
    return await asyncio.to_thread(_decode_long, adapter, body)


def _decode_long(adapter: TypeAdapter[T], body: bytes) -> T:
    if has_too_much(body):
        expected = f"at most {MAX_VALUES} strings, arrays and objects, and {MAX_COMMAS} numbers"
        message = f"The body has too many members; expected {expected}."
        raise ApiError.invalid(message, None, None, expected)
    return decode(adapter, body)


def has_too_much(body: bytes) -> bool:
    """Whether JSON has more members than the bounds allow; step by step, so that other threads come
    to their turn."""
    values = commas = end = 0
    while (start := body.find(b'"', end)) >= 0:
        values += 1 + body.count(b"[", end, start) + body.count(b"{", end, start)
        commas += body.count(b",", end, start)
        if values > MAX_VALUES or commas > MAX_COMMAS:
            return True
        end = _end_of_string(body, start)
    values += body.count(b"[", end) + body.count(b"{", end)
    return values > MAX_VALUES or commas + body.count(b",", end) > MAX_COMMAS


def _end_of_string(body: bytes, start: int) -> int:
    """Behind the closing quote of the string that begins at `start`."""
    quote = body.find(b'"', start + 1)
    while quote > 0 and _is_escaped(body, quote):
        quote = body.find(b'"', quote + 1)
    return quote + 1 if quote > 0 else len(body)


def _is_escaped(body: bytes, quote: int) -> bool:
    first = quote
    while body[first - 1] == ord("\\"):
        first -= 1
    return (quote - first) % 2 == 1


def decode(adapter: TypeAdapter[T], body: bytes) -> T:
    """The body as its wire type. Raises ApiError 400 that names the first wrong field."""
    if b"NaN" in body or b"Infinity" in body:
        _refuse_constants(body)
    try:
        return adapter.validate_json(body)
    except ValidationError as e:
        raise _readable(e) from None


def _refuse_constants(body: bytes) -> None:
    """pydantic reads NaN and Infinity, which are no JSON and which no engine can work with."""
    try:
        json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return  # pydantic says it better


def _refuse(constant: str) -> None:
    raise _not_json(f"{constant} is no JSON number")


def _not_json(reason: str) -> ApiError:
    return ApiError.invalid(f"The body is not valid JSON: {reason}.", expected="a JSON object")


def _readable(e: ValidationError) -> ApiError:
    error = _first(e.errors(include_url=False)[:_LOOKED_AT])
    if error["type"] in ("json_invalid", "json_type") or not error["loc"]:
        return _not_json(error.get("ctx", {}).get("error", "it is not a JSON object"))
    field = path_of(error["loc"])
    expected = _expectation(error, field)
    if error["type"] == "missing":
        return ApiError.invalid(f"Missing required field: {field}.", field, None, expected)
    provided = brief(error["input"])
    shown = provided if isinstance(error["input"], dict | list) else _as_json(provided)
    message = f"Invalid value for {field}: {shown}; expected {expected}."
    return ApiError.invalid(message, field, provided, expected)


def _first(errors: Sequence[ErrorDetails]) -> ErrorDetails:
    """The first wrong field. Where a union's branches all refused it, the one that came furthest:
    past the type, else deepest."""
    first = path_of(errors[0]["loc"])
    branches = [e for e in errors if path_of(e["loc"]).startswith(first)]
    return max(branches, key=lambda e: (not _is_of_type(e), len(_STEP.findall(path_of(e["loc"])))))


def _is_of_type(error: ErrorDetails) -> bool:
    return error["type"].endswith(("_type", "literal_error", "int_from_float"))


def path_of(loc: Sequence[int | str]) -> str:
    """('messages', 0, 'content', 'str') -> 'messages[0].content': union branches are left out."""
    out = ""
    for part in loc:
        if isinstance(part, int):
            out += f"[{part}]"
        elif re.fullmatch(r"[a-z0-9_]+", part) and part not in _BRANCHES:
            out += f".{part}" if out else part
    return out


def _expectation(error: ErrorDetails, field: str) -> str:
    name = field.rsplit(".", 1)[-1]
    if name in _BY_NAME:
        return _BY_NAME[name]
    if field.startswith("logit_bias."):
        return _BY_NAME["logit_bias"]
    form = _EXPECTED.get(error["type"])
    return form.format(**error.get("ctx", {})) if form else str(error["msg"])


def brief(value: Any) -> Any:
    """The offending value as it goes back: scalars as they are, the rest as a word."""
    if isinstance(value, str):
        return value if len(value) <= 80 else value[:77] + "…"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return str(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a huge integer"
    if value is None or isinstance(value, bool | int | float):
        return value
    return "an object" if isinstance(value, dict) else "an array"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Named(msgspec.Struct):
    model: str | None = None


def named_model(body: bytes) -> dict[str, str]:
    """{"model": …} that a refused body asks for, cut to a line's length; for the log alone."""
    if len(body) > _LONGEST_NAMED_BYTES:
        return {}
    try:
        model = msgspec.json.decode(body, type=_Named).model
    except (ValueError, RecursionError):
        return {}
    return {"model": model[:128]} if model else {}
