"""Bytes -> a wire type in one pass; a wrong field is named with what would be right."""

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from engines.host.interpreter_turns import give_way
from engines.host.worker_threads import WorkerThreads
from server.api.body_members import MOST_MEMBERS, members_of
from server.errors import ApiError, brief

T = TypeVar("T")
_LONGEST_NAMED_BYTES = 65_536
_STEP = re.compile(r"[.\[]")
_LONGEST_NAME = 64
_NAME = re.compile(rf"[a-z0-9_]{{1,{_LONGEST_NAME}}}")

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
    "repetition_penalty": "a number from 0.01 to 2",
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


IN_A_THREAD_BYTES = 32 * 1024
"""Below it a body of nothing but lists costs the event loop 5 ms."""
_SHORT_STEP_BYTES = 128 * 1024
"""So much is parsed in 3 ms at most, and 8 MiB of escapes in 20."""
_LOOKED_AT = 64
"""Of a wrong body's errors: the first wrong field's are among them."""


async def decoded(adapter: TypeAdapter[T], body: bytes, long_bodies: WorkerThreads) -> T:
    """As `decode`; a long body takes no other request's time: `long_bodies` is one thread, since
    several would keep the interpreter from the event loop in turn. Raises ApiError 400."""
    if len(body) <= IN_A_THREAD_BYTES:
        return decode(adapter, body)
    return await long_bodies(_decode_long, adapter, body)


def _decode_long(adapter: TypeAdapter[T], body: bytes) -> T:
    members = members_of(body)
    if members.is_too_much:
        message = f"The body has too much in it; expected {MOST_MEMBERS}."
        raise ApiError.invalid(message, None, None, MOST_MEMBERS)
    if members.constant:
        _refuse(members.constant)
    give_way(at_once=len(body) > _SHORT_STEP_BYTES)
    return _validated(adapter, body)


def decode(adapter: TypeAdapter[T], body: bytes) -> T:
    """The body as its wire type. Raises ApiError 400 that names the first wrong field."""
    if b"NaN" in body or b"Infinity" in body:
        _refuse_constants(body)
    return _validated(adapter, body)


def _validated(adapter: TypeAdapter[T], body: bytes) -> T:
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
    """('messages', 0, 'content', 'str') -> 'messages[0].content': union branches are left out, and
    names that no field has."""
    out = ""
    for part in loc:
        if isinstance(part, int):
            out += f"[{part}]"
        elif _NAME.fullmatch(part[: _LONGEST_NAME + 1]) and part not in _BRANCHES:
            out += f".{part}" if out else part
    return out


def _expectation(error: ErrorDetails, field: str) -> str:
    name = field.rsplit(".", 1)[-1]
    if name == "temperature" and error.get("ctx", {}).get("le") == 1:
        return "a number from 0 to 1"  # Anthropic's
    if name in _BY_NAME:
        return _BY_NAME[name]
    if field.startswith("logit_bias."):
        return _BY_NAME["logit_bias"]
    form = _EXPECTED.get(error["type"])
    return form.format(**error.get("ctx", {})) if form else str(error["msg"])


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
