"""Ids of tool calls as models know them: Kimi K2's chat template shows a call by its id alone, and
Mistral's refuses all but nine letters and digits. Knows no engine."""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from engines.base import GenerateRequest

_KIMI, _MISTRAL = "kimi_k2", "mistral"
_NINE = re.compile(r"[A-Za-z0-9]{9}")

Messages = Sequence[Mapping[str, Any]]


class CallIds:
    """New calls' ids, for one request."""

    def __init__(self, request: GenerateRequest) -> None:
        self._parser = request.tool_parser
        is_counted = self._parser == _KIMI
        self._made = sum(map(_call_count, request.messages or ())) if is_counted else 0

    def new(self, name: str, index: int) -> str:
        """Of the answer's call number `index`, from 0."""
        if self._parser == _KIMI:
            return f"functions.{name}:{self._made + index}"
        return uuid.uuid4().hex[:9] if self._parser == _MISTRAL else new_call_id()


def new_call_id() -> str:
    """For a model that knows none, or takes any."""
    return f"call_{uuid.uuid4().hex[:24]}"


def with_known_ids(messages: Messages, parsers: Sequence[str | None]) -> Messages:
    """The history with ids that a model of one of `parsers` knows, whoever made its calls; a result
    goes with the last call that had its id."""
    parser = next((each for each in parsers if each in (_KIMI, _MISTRAL)), None)
    if parser is None:
        return messages
    renamed: list[Mapping[str, Any]] = []
    known: dict[str, str] = {}
    count = 0
    for message in messages:
        if calls := message.get("tool_calls"):
            known |= {c["id"]: _known(c, count + place, parser) for place, c in enumerate(calls)}
            count += len(calls)
            message = {**message, "tool_calls": [{**c, "id": known[c["id"]]} for c in calls]}
        elif (result_of := message.get("tool_call_id")) in known:
            message = {**message, "tool_call_id": known[result_of]}
        renamed.append(message)
    return renamed


def _known(call: Mapping[str, Any], number: int, parser: str | None) -> str:
    if parser == _KIMI:
        return f"functions.{call['function']['name']}:{number}"
    given = str(call["id"])
    # Always the same for the same: the cache of a long chat's beginning stays of use.
    return given if _NINE.fullmatch(given) else hashlib.sha256(given.encode()).hexdigest()[:9]


def _call_count(message: Mapping[str, Any]) -> int:
    return len(message.get("tool_calls") or ())
