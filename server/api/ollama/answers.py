"""Deltas -> Ollama's lines of JSON, and the whole answer that they add up to."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from engines.base import Delta, ToolCallDelta, Usage
from server.api.chat.stream import answer_logprobs, logprobs_body
from server.api.chat.whole import ChoiceFold
from server.api.ollama.wire_answers import Ending, SaidMessage, WholeCall
from server.error_body import Error

NDJSON = b"application/x-ndjson"
_json = msgspec.json.Encoder().encode


class Said(Protocol):
    """The members of a line that say something."""

    def __call__(
        self, text: str, thinking: str = "", calls: Sequence[WholeCall] = ()
    ) -> Mapping[str, Any]: ...


class LineForm(NamedTuple):
    """How a line of one endpoint says a piece of text: what stands before and after it."""

    before: bytes
    after: bytes
    said: Said


def _chat_said(text: str, thinking: str = "", calls: Sequence[WholeCall] = ()) -> Mapping[str, Any]:
    message: SaidMessage = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = list(calls)
    return {"message": message}


def _text_said(text: str, thinking: str = "", calls: Sequence[WholeCall] = ()) -> Mapping[str, Any]:
    return {"response": text, "thinking": thinking} if thinking else {"response": text}


CHAT_LINE = LineForm(b',"message":{"role":"assistant","content":', b'},"done":false}\n', _chat_said)
TEXT_LINE = LineForm(b',"response":', b',"done":false}\n', _text_said)


def now_text() -> str:
    """The time as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def waiting(model: str, form: LineForm) -> bytes:
    """A line that says nothing, which every client reads: for a stream that is silent for long."""
    members = {"model": model, "created_at": now_text(), **form.said(""), "done": False}
    return _json(members) + b"\n"


class Timer:
    """When the parts of one answer began, on the monotonic clock, in nanoseconds."""

    __slots__ = ("_began", "_first", "_leased")

    def __init__(self) -> None:
        self._began = time.monotonic_ns()
        self._leased = self._first = 0

    def leased(self) -> None:
        """An engine is there, and the prompt is tokens."""
        self._leased = time.monotonic_ns()

    def spoke(self) -> None:
        """The first delta of a stream; of a whole answer nobody knows when its first token was
        there."""
        self._first = time.monotonic_ns()

    def durations(self) -> Ending:
        now = time.monotonic_ns()
        leased = self._leased or now
        first = self._first or leased
        return {
            "total_duration": now - self._began,
            "load_duration": leased - self._began,
            "prompt_eval_duration": first - leased,
            "eval_duration": now - first,
        }


class _Shape:
    """What stream and whole answer share."""

    __slots__ = ("_fold", "_form", "_head", "_timer")

    def __init__(self, model: str, form: LineForm) -> None:
        self._form = form
        self._head = _json({"model": model, "created_at": now_text()})[:-1]
        self._timer = Timer()
        self._fold = ChoiceFold()

    def follow(self, usage: Callable[[], Usage]) -> None:
        """Called when its engine is found."""
        self._timer.leased()

    def _line(self, members: Mapping[str, Any]) -> bytes:
        return self._head + b"," + _json(members)[1:] + b"\n"

    def _ending(self, usage: Usage) -> Ending:
        return {
            "done_reason": "length" if self._fold.finish_reason == "length" else "stop",
            **self._timer.durations(),
            "prompt_eval_count": usage.prompt_tokens,
            "eval_count": usage.completion_tokens,
        }


class OllamaStream(_Shape):
    """The lines of one streamed answer. A call is told once it is whole."""

    __slots__ = ("_calls", "_text")

    def __init__(self, model: str, form: LineForm) -> None:
        super().__init__(model, form)
        self._text = self._head + form.before
        self._calls = _Calls()

    def open(self) -> bytes:
        self._timer.spoke()
        return b""

    def delta(self, d: Delta) -> bytes:
        if d.finish_reason is None and d.text and not (d.reasoning or d.tool_calls or d.logprobs):
            return self._text + _json(d.text) + self._form.after
        return self._rare(d)

    def close(self, usage: Usage) -> bytes:
        out = self._called(self._calls.end())
        return out + self._line({**self._form.said(""), "done": True, **self._ending(usage)})

    def fail(self, body: Error) -> bytes:
        return _json({"error": body["error"]["message"]}) + b"\n"

    def _rare(self, d: Delta) -> bytes:
        self._fold.finish_reason = d.finish_reason or self._fold.finish_reason
        out = b""
        if d.reasoning:
            out += self._line({**self._form.said("", d.reasoning), "done": False})
        logprobs = answer_logprobs(d)
        if d.text or logprobs:
            told = {"logprobs": logprobs_body(logprobs)["content"]} if logprobs else {}
            out += self._line({**self._form.said(d.text), "done": False, **told})
        for call in d.tool_calls:
            out += self._called(self._calls.add(call))
        return out

    def _called(self, calls: Sequence[WholeCall]) -> bytes:
        if not calls:
            return b""
        return self._line({**self._form.said("", "", calls), "done": False})


class OllamaAnswer(_Shape):
    """The body of one whole answer."""

    __slots__ = ()

    def add(self, d: Delta) -> None:
        self._fold.add(d)

    def body(self, usage: Usage) -> bytes:
        fold, calls = self._fold, _Calls()
        made = [call for pieces in fold.tool_calls.values() for call in _all(calls, pieces)]
        made += calls.end()
        said = self._form.said("".join(fold.text), "".join(fold.reasoning), made)
        logprobs = logprobs_body(tuple(fold.logprobs))["content"]
        told = {"logprobs": logprobs} if logprobs else {}
        return self._line({**said, "done": True, **told, **self._ending(usage)})[:-1]


class _Calls:
    """Pieces of calls -> whole ones, each once the next begins or the answer ends. One that was
    cut has no arguments that a client could read: it is left out."""

    def __init__(self) -> None:
        self._first: ToolCallDelta | None = None
        self._pieces: list[str] = []

    def add(self, piece: ToolCallDelta) -> list[WholeCall]:
        done = []
        if self._first is None or self._first.index != piece.index:
            done, self._first, self._pieces = self.end(), piece, []
        self._pieces.append(piece.arguments)
        return done

    def end(self) -> list[WholeCall]:
        first, self._first = self._first, None
        if first is None:
            return []
        try:
            arguments = json.loads("".join(self._pieces) or "{}")
        except (ValueError, RecursionError):
            return []
        if not isinstance(arguments, dict):
            return []
        function: Any = {"index": first.index, "name": first.name or "", "arguments": arguments}
        return [{"id": first.id or "", "function": function}]


def _all(calls: _Calls, pieces: Sequence[ToolCallDelta]) -> list[WholeCall]:
    return [call for piece in pieces for call in calls.add(piece)]
