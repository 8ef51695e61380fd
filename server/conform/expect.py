"""What checks say of answers: each line passes silently or raises Unmet with both sides."""

from collections.abc import Collection
from typing import Any

import httpx

from server.conform.streamed import Streamed
from server.conform.unmet import Unmet

_LONGEST = 160


def equal(what: str, seen: Any, expected: Any) -> None:
    """`seen` is `expected`, of the same type: true is no 1."""
    if seen != expected or type(seen) is not type(expected):
        raise Unmet(f"{what} {shown(expected)}", shown(seen))


def that(holds: bool, expected: str, seen: Any) -> None:
    """A condition, with its words."""
    if not holds:
        raise Unmet(expected, shown(seen))


def one_of(what: str, seen: Any, allowed: Collection[Any]) -> None:
    that(seen in allowed, f"{what} one of {', '.join(map(str, allowed))}", seen)


def status(answer: httpx.Response | Streamed, *allowed: int) -> None:
    """One of these statuses. A 500 is a fault, whatever the rule."""
    if answer.status_code not in allowed:
        wanted = " or ".join(map(str, allowed))
        seen = f"{answer.status_code}: {shown(answer.text)}"
        raise Unmet(f"status {wanted}", seen, is_fault=answer.status_code == 500)


def ok(answer: httpx.Response) -> Any:
    """The JSON of a 200."""
    status(answer, 200)
    return json_of(answer)


def json_of(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise Unmet("a JSON body", shown(answer.text)) from None


def refused(answer: httpx.Response, code_status: int, code: str) -> Any:
    """A refusal with this status and error.code; returns its `error` member."""
    status(answer, code_status)
    error = error_of(answer)
    equal("error.code", error.get("code"), code)
    return error


def error_of(answer: httpx.Response) -> Any:
    body = json_of(answer)
    error = body.get("error") if isinstance(body, dict) else None
    that(isinstance(error, dict), 'a body {"error": {…}}', answer.text)
    return error


def choice(answer: httpx.Response) -> Any:
    """The first choice of a 200."""
    choices = ok(answer).get("choices")
    that(isinstance(choices, list) and len(choices) > 0, "a choice", answer.text)
    return choices[0]


def content(answer: httpx.Response) -> str:
    """The text of a 200's first choice."""
    text = choice(answer).get("message", {}).get("content")
    that(isinstance(text, str), "message.content a string", text)
    return str(text)


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def shown(value: Any) -> str:
    """Short enough for a table's cell."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
