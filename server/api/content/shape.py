"""The shape of a request: numbers, switches and kinds that this list knows. Nothing else of a body
gets through, so no word that somebody wrote."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

NUMBERS: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "n", "max_tokens", "best_of"),
        *("max_completion_tokens", "max_output_tokens", "presence_penalty", "frequency_penalty"),
        *("repetition_penalty", "top_logprobs", "logprobs", "stream", "store", "background"),
        *("parallel_tool_calls", "enable_thinking", "thinking_token_budget", "top_n", "echo"),
        *("dimensions", "min_tokens", "ignore_eos", "num_predict", "num_ctx"),
    }
)
"""Members whose numbers and switches are told."""
KINDS: Final[Mapping[str, frozenset[str]]] = {
    "reasoning_effort": frozenset({"none", "minimal", "low", "medium", "high", "xhigh"}),
    "tool_choice": frozenset({"none", "auto", "required", "any"}),
    "truncation": frozenset({"auto", "disabled"}),
    "encoding_format": frozenset({"float", "base64"}),
}
ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
FORMATS: Final = frozenset({"text", "json_object", "json_schema"})
PARTS: Final = frozenset({"text", "image_url", "input_text", "input_image", "image", "thinking"})
TEXTS: Final = ("prompt", "input", "instructions", "system", "query", "documents", "texts")
"""Members whose texts are counted."""
MOST_DEPTH: Final = 8
MOST_NUMBER: Final = 10**7


def shape_of(body: bytes) -> dict[str, Any]:
    """JSON of it; what is no object has none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return _shape(found) if isinstance(found, dict) else {}


def _shape(body: Mapping[str, Any]) -> dict[str, Any]:
    options = body.get("options")  # Ollama's
    said = {**options, **body} if isinstance(options, dict) else body
    shape: dict[str, Any] = {name: said[name] for name in NUMBERS if _is_plain(said.get(name))}
    shape |= {"seed": True} if isinstance(body.get("seed"), int) else {}
    for name, kinds in KINDS.items():
        if name in body:
            shape[name] = body[name] if _is_in(body[name], kinds) else "other"
    shape |= _of_messages(body.get("messages"))
    shape |= {f"{name}_characters": _characters(body[name]) for name in TEXTS if name in body}
    for name in ("tools", "stop", "documents", "input"):
        if isinstance(body.get(name), list):
            shape[f"{name}_count"] = len(body[name])
    format_ = body.get("response_format")
    if isinstance(format_, dict):
        kind = format_.get("type")
        shape["response_format"] = kind if _is_in(kind, FORMATS) else "other"
    return shape


def _of_messages(messages: Any) -> dict[str, Any]:
    if not isinstance(messages, list):
        return {}
    found = [each for each in messages if isinstance(each, dict)]
    roles = Counter(_kind(each.get("role"), ROLES) for each in found)
    parts = Counter(
        _kind(part.get("type"), PARTS)
        for each in found
        if isinstance(each.get("content"), list)
        for part in each["content"]
        if isinstance(part, dict)
    )
    calls = sum(
        len(each["tool_calls"]) for each in found if isinstance(each.get("tool_calls"), list)
    )
    characters = sum(_characters(each.get("content")) for each in found)
    return {
        "messages": dict(roles),
        "messages_characters": characters,
        **({"parts": dict(parts)} if parts else {}),
        **({"tool_calls": calls} if calls else {}),
    }


def _is_plain(value: Any) -> bool:
    """A switch, or a number that is too small to say anything."""
    return isinstance(value, int | float) and abs(value) <= MOST_NUMBER


def _kind(value: Any, known: frozenset[str]) -> str:
    return value if _is_in(value, known) else "other"


def _is_in(value: Any, known: frozenset[str]) -> bool:
    return isinstance(value, str) and value in known


def _characters(value: Any, depth: int = 0) -> int:
    """Of all texts in it."""
    if isinstance(value, str):
        return len(value)
    if depth >= MOST_DEPTH:
        return 0
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return sum(_characters(each, depth + 1) for each in value)
    return 0
