"""The events of a streamed response, in OpenAI's order, each with its sequence number."""

from typing import Any, NamedTuple

import msgspec

from engines.base import Delta, Usage
from server.api.responses.output import Item, Output, Step, ended, failed, response_logprobs
from server.api.responses.wire_answers import EventMembers, Response, ResponseEvent
from server.error_body import Error

_json = msgspec.json.Encoder().encode


class _Names(NamedTuple):
    """What the events of an item are called."""

    text: str
    """Empty: its pieces are not told, only the whole item."""
    part: str = ""
    """Empty: it has no content parts."""


_MESSAGE = _Names("response.output_text", "response.content_part")
_THOUGHT = _Names("response.reasoning_text", "response.content_part")
_SUMMARY = _Names("response.reasoning_summary_text", "response.reasoning_summary_part")
_CALL = _Names("response.function_call_arguments")
_CUSTOM = _Names("response.custom_tool_call_input")
_SEARCH = _Names("")


def _names(item: Item) -> _Names:
    if item.kind == "reasoning":
        return _SUMMARY if item.is_summary else _THOUGHT
    if item.kind == "custom_tool_call":
        return _CUSTOM
    if item.kind == "tool_search_call":
        return _SEARCH
    return _MESSAGE if item.kind == "message" else _CALL


class ResponseStream:
    """One streamed response."""

    __slots__ = ("_head", "_last", "_members", "_now", "_output", "_sequence_number", "response")

    def __init__(self, members: Response, output: Output, now: Any) -> None:
        self._members = members
        self._output = output
        self._now = now
        self._sequence_number = 0
        self._head = b""
        """All that pieces of the open item share."""
        self._last = 0
        """The number of the event that ended it."""
        self.response = members
        """As it stands: with its output once it has ended."""

    def queued(self) -> bytes:
        """Of a response that waits for its turn; `open` comes once it runs."""
        response: Response = {**self._members, "status": "queued"}
        return self._whole("response.created", response) + self._whole("response.queued", response)

    def open(self) -> bytes:
        created = b"" if self._sequence_number else self._whole("response.created", self._members)
        return created + self._whole("response.in_progress", self._members)

    def delta(self, d: Delta) -> bytes:
        if self._output.goes_on(d):
            number = self._sequence_number
            self._sequence_number = number + 1
            return self._head + _json(d.text) + b',"logprobs":[],"sequence_number":%d}\n\n' % number
        return b"".join(self._step(step) for step in self._output.add(d))

    def close(self, usage: Usage) -> bytes:
        out = b"".join(self._step(step) for step in self._output.end())
        response = self.response = ended(self._members, self._output, usage, self._now())
        self._last = self._sequence_number
        return out + self._whole(f"response.{response['status']}", response)

    def take_back_end(self) -> None:
        """The last event was not said: another comes in its place."""
        self._sequence_number = self._last

    def unkept(self) -> bytes:
        """The last event again, which says that nothing is kept."""
        self.take_back_end()
        response = self.response = {**self.response, "store": False}
        return self._whole(f"response.{response['status']}", response)

    def cancelled(self) -> None:
        """It ends without an event: who asked for it knows."""
        self.response = {**failed(self._members, self._output, None), "status": "cancelled"}

    def fail(self, body: Error) -> bytes:
        error = body["error"]
        told: EventMembers = {
            "code": error["code"],
            "message": error["message"],
            "param": error["param"],
        }
        response = self.response = failed(self._members, self._output, error)
        begun = b"" if self._sequence_number else self.open()  # it may fail before its first token
        return begun + self._event("error", told) + self._whole("response.failed", response)

    def _step(self, step: Step) -> bytes:
        match step.kind:
            case "piece":
                return self._piece(step)
            case "open":
                return self._opened(step.item)
        return self._closed(step.item)

    def _piece(self, step: Step) -> bytes:
        if step.item.kind == "tool_search_call":
            return b""
        out = self._head + _json(step.text)
        if step.item.kind == "message":
            out += b',"logprobs":' + _json(response_logprobs(step.logprobs))
        out += b',"sequence_number":%d}\n\n' % self._sequence_number
        self._sequence_number += 1
        return out

    def _opened(self, item: Item) -> bytes:
        names = _names(item)
        place = self._place(item)
        kind = f"{names.text}.delta"
        self._head = (
            f"event: {kind}\ndata: ".encode() + _json({"type": kind} | place)[:-1] + b',"delta":'
        )
        out = self._event(
            "response.output_item.added",
            {"output_index": item.index, "item": item.body("in_progress")},
        )
        if names.part:
            out += self._event(f"{names.part}.added", place | {"part": item.part()})
        return out

    def _closed(self, item: Item) -> bytes:
        names, place = _names(item), self._place(item)
        out = self._event(f"{names.text}.done", place | _said(item)) if names.text else b""
        if names.part:
            out += self._event(f"{names.part}.done", place | {"part": item.part()})
        body = item.body(self._output.status_of(item))
        return out + self._event(
            "response.output_item.done", {"output_index": item.index, "item": body}
        )

    def _place(self, item: Item) -> EventMembers:
        names = _names(item)
        place: EventMembers = {"item_id": item.id, "output_index": item.index}
        if names.part:
            place |= {"summary_index": 0} if item.is_summary else {"content_index": 0}
        return place

    def _whole(self, kind: str, response: Response) -> bytes:
        return self._event(kind, {"response": response})

    def _event(self, kind: str, members: EventMembers) -> bytes:
        payload: ResponseEvent = {"type": kind, **members, "sequence_number": self._sequence_number}
        self._sequence_number += 1
        return f"event: {kind}\ndata: ".encode() + _json(payload) + b"\n\n"


def _said(item: Item) -> EventMembers:
    """All of an item's text, under the name its done event has for it."""
    if item.kind == "function_call":
        return {"arguments": item.text, "name": item.name}
    if item.kind == "custom_tool_call":
        return {"input": item.text}
    if item.kind == "message":
        return {"text": item.text, "logprobs": response_logprobs(tuple(item.logprobs))}
    return {"text": item.text}
