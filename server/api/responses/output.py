"""Deltas -> the output items of a response: reasoning, message, calls, in their order."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from engines.base import Delta, TokenLogprob, ToolCallDelta, Usage
from server.api.chat import wire_answers
from server.api.chat.stream import answer_logprobs, logprobs_body
from server.api.responses.custom_input import CustomInput
from server.api.responses.tools import CallKind, Offer
from server.api.responses.wire_answers import (
    ItemStatus,
    Response,
    ResponseError,
    ResponseItem,
    ResponseText,
    ResponseUsage,
)
from server.error_body import ErrorMembers
from server.ids import new_id

_PREFIX = {
    "reasoning": "rs",
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "tool_search_call": "tsc",
}


@dataclass(slots=True, kw_only=True)
class Item:
    """One output item; complete once another begins, or the answer ends."""

    kind: Literal["reasoning", "message"] | CallKind
    index: int
    is_summary: bool = False
    """reasoning: the trace stands in the summary's place."""
    call: ToolCallDelta | None = None
    """A call: its first piece, with id and name."""
    offer: Offer | None = None
    """A call: the tool, where it is one that was offered."""
    input: CustomInput | None = None
    """custom_tool_call: reads its text."""
    id: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = f"{_PREFIX[self.kind]}_{new_id(28)}"

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def part(self) -> ResponseText:
        """Its one content part, as far as it is."""
        if self.kind == "reasoning":
            return {
                "type": "summary_text" if self.is_summary else "reasoning_text",
                "text": self.text,
            }
        logprobs = response_logprobs(tuple(self.logprobs))
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": logprobs}

    def body(self, status: ItemStatus) -> ResponseItem:
        """The item; without its part while it is in progress."""
        out: ResponseItem = {"id": self.id, "type": self.kind, "status": status}
        parts = [] if status == "in_progress" else [self.part()]
        match self.kind:
            case "message":
                return {**out, "role": "assistant", "content": parts}
            case "reasoning" if self.is_summary:
                return {**out, "summary": parts}
            case "reasoning":
                return {**out, "summary": [], "content": parts}
        return self._called(out)

    @property
    def name(self) -> str | None:
        """A call: the tool's name as the client knows it."""
        if self.offer is not None:
            return self.offer.name
        return self.call.name if self.call else None

    def _called(self, out: ResponseItem) -> ResponseItem:
        assert self.call is not None
        out |= {"call_id": self.call.id}
        if self.kind == "tool_search_call":
            return {**out, "execution": "client", "arguments": _object(self.text)}
        out |= {"name": self.name}
        out |= {"input": self.text} if self.input else {"arguments": self.text}
        namespace = self.offer.namespace if self.offer else None
        return {**out, "namespace": namespace} if namespace else out


def _object(text: str) -> dict[str, Any]:
    """What a search is for; nothing, while its arguments are not whole."""
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        arguments = None
    return arguments if isinstance(arguments, dict) else {}


class Step(NamedTuple):
    """What a delta did to an item."""

    kind: Literal["open", "piece", "close"]
    item: Item
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()


class Output:
    """The items of one answer."""

    def __init__(
        self,
        is_summary: bool,
        offers: Mapping[str, Offer] | None = None,
        shows_reasoning: bool = True,
    ) -> None:
        """`offers`: the tools by the name that the model knows."""
        self._shows_reasoning = shows_reasoning
        self._offers = offers or {}
        self.items: list[Item] = []
        self.is_cut = False
        """Whether max_output_tokens ended it."""
        self._is_summary = is_summary
        self._open: Item | None = None

    def add(self, d: Delta) -> Iterator[Step]:
        if d.finish_reason == "length":
            self.is_cut = True
        if d.reasoning and self._shows_reasoning:
            yield from self._piece("reasoning", d.reasoning)
        logprobs = answer_logprobs(d)
        if d.text or logprobs:
            yield from self._piece("message", d.text, logprobs)
        for call in d.tool_calls:
            yield from self._call(call)

    def goes_on(self, d: Delta) -> bool:
        """Whether `d` is only more text of the open message; then it is taken. The usual case."""
        item = self._open
        if item is None or item.kind != "message" or not d.text:
            return False
        if d.finish_reason or d.reasoning or d.tool_calls or d.logprobs:
            return False
        item.pieces.append(d.text)
        return True

    def end(self) -> Iterator[Step]:
        """Close what is open. An answer without a word is an empty message."""
        if not self.items:
            yield from self._begin(Item(kind="message", index=0))
        yield from self._close()

    def bodies(self) -> list[ResponseItem]:
        return [item.body(self.status_of(item)) for item in self.items]

    def status_of(self, item: Item) -> ItemStatus:
        is_last = item is self.items[-1]
        return "incomplete" if self.is_cut and is_last else "completed"

    def _piece(
        self,
        kind: Literal["reasoning", "message"],
        text: str,
        logprobs: tuple[TokenLogprob, ...] = (),
    ) -> Iterator[Step]:
        if self._open is None or self._open.kind != kind:
            is_summary = kind == "reasoning" and self._is_summary
            item = Item(kind=kind, index=len(self.items), is_summary=is_summary)
            yield from self._begin(item)
        yield from self._go_on(text, logprobs)

    def _call(self, call: ToolCallDelta) -> Iterator[Step]:
        opened = self._open.call if self._open else None
        if opened is None or opened.index != call.index:
            yield from self._begin(self._called(call))
        item = self._open
        assert item is not None
        text = item.input.feed(call.arguments) if item.input else call.arguments
        if text:
            yield from self._go_on(text)

    def _called(self, call: ToolCallDelta) -> Item:
        offer, index = self._offers.get(call.name or ""), len(self.items)
        kind: CallKind = offer.kind if offer else "function_call"
        reader = CustomInput() if kind == "custom_tool_call" else None
        return Item(kind=kind, index=index, call=call, offer=offer, input=reader)

    def _begin(self, item: Item) -> Iterator[Step]:
        yield from self._close()
        self.items.append(item)
        self._open = item
        yield Step("open", item)

    def _go_on(self, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> Iterator[Step]:
        item = self._open
        assert item is not None
        item.pieces.append(text)
        item.logprobs.extend(logprobs)
        yield Step("piece", item, text, logprobs)

    def _close(self) -> Iterator[Step]:
        item = self._open
        if item is not None and item.input and (rest := item.input.end()):
            yield from self._go_on(rest)
        if item is not None:
            yield Step("close", item)
        self._open = None


def response_logprobs(logprobs: tuple[TokenLogprob, ...]) -> list[wire_answers.TokenLogprob]:
    return logprobs_body(logprobs)["content"]


def response_usage(usage: Usage) -> ResponseUsage:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def ended(members: Response, output: Output, usage: Usage, now: float) -> Response:
    """The response as it stands at its end."""
    is_cut = output.is_cut
    return {
        **members,
        "status": "incomplete" if is_cut else "completed",
        "completed_at": None if is_cut else int(now),
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": output.bodies(),
        "usage": response_usage(usage),
    }


def failed(members: Response, output: Output, error: ErrorMembers | None) -> Response:
    """The response of a generation that broke, or was broken off (no error)."""
    return {
        **members,
        "status": "failed",
        "error": None if error is None else _told_error(error),
        "output": [item.body("incomplete") for item in output.items],
    }


def _told_error(error: ErrorMembers) -> ResponseError:
    is_limit = error["type"] == "rate_limit_error"
    code: Literal["rate_limit_exceeded", "server_error"]
    code = "rate_limit_exceeded" if is_limit else "server_error"
    return {"code": code, "message": error["message"]}


class ResponseAnswer:
    """The body of one whole response."""

    __slots__ = ("_members", "_now", "_output")

    def __init__(self, members: Response, output: Output, now: Any) -> None:
        self._members = members
        self._output = output
        self._now = now

    def add(self, d: Delta) -> None:
        for _ in self._output.add(d):
            pass

    def body(self, usage: Usage) -> bytes:
        for _ in self._output.end():
            pass
        return msgspec.json.encode(ended(self._members, self._output, usage, self._now()))
