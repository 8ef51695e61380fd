"""Tool calls that a model makes by itself, read from its text without vLLM: the hermes form
(Qwen 2.5 and 3, Hermes) and Llama 3's JSON."""

import json
from typing import Any

from engines.answers.call_ids import new_call_id
from engines.base import GenerateRequest, InvalidRequest, ToolCallDelta

MARKS = {"hermes": ("<tool_call>", "</tool_call>"), "llama3_json": ("", "")}
"""Registry parser name -> what stands around one call; empty: the whole answer is the call."""


def call_reader(request: GenerateRequest) -> "CallReader | None":
    """A reader for one choice, where tools are on offer. Raises InvalidRequest for a parser that
    only vLLM has."""
    if request.tool_parser is None or not request.tools or request.tool_choice != "auto":
        return None
    if request.tool_parser not in MARKS:
        raise InvalidRequest(
            f"This model's tool parser is {request.tool_parser}, which llama.cpp's engine cannot "
            f"read ({', '.join(MARKS)} it can); tool_choice required or a named function works.",
            "tool_choice",
        )
    return CallReader(*MARKS[request.tool_parser], request.parallel_tool_calls)


class CallReader:
    """Feed it the answer's text in order: it hands back what is content, and the calls.

    A call goes out when it is complete, since only then it is known to be one. Without
    `is_parallel` only the first goes out.
    """

    def __init__(self, start: str, end: str, is_parallel: bool = True) -> None:
        self._start, self._end = start, end
        self._is_parallel = is_parallel
        self._held = ""
        self._index = -1

    def feed(self, text: str, is_last: bool) -> tuple[str, tuple[ToolCallDelta, ...]]:
        self._held += text
        content, calls = self._feed_marked(is_last) if self._start else self._feed_whole(is_last)
        return content, tuple(call for call in calls if self._is_parallel or call.index == 0)

    def _feed_marked(self, is_last: bool) -> tuple[str, tuple[ToolCallDelta, ...]]:
        content, calls = "", []
        while (begin := self._held.find(self._start)) >= 0:
            stop = self._held.find(self._end, begin)
            if stop < 0 and not is_last:
                break
            stop = len(self._held) if stop < 0 else stop
            call = self._call(self._held[begin + len(self._start) : stop])
            content += self._held[:begin]
            if call is None:
                content += self._held[begin : stop + len(self._end)]
            else:
                content = content.rstrip("\n")
                calls.append(call)
            self._held = self._held[stop + len(self._end) :]
        ready = len(self._held) if is_last else self._safe_length()
        content, self._held = content + self._held[:ready], self._held[ready:]
        return ("" if self._index >= 0 and not content.strip() else content), tuple(calls)

    def _safe_length(self) -> int:
        """How much of the held text cannot belong to a call any more. Line ends before a call
        are no content, so they wait for what follows them."""
        begin = self._held.find(self._start)
        if begin < 0:
            lengths = range(min(len(self._start) - 1, len(self._held)), 0, -1)
            begun = (n for n in lengths if self._start.startswith(self._held[-n:]))
            begin = len(self._held) - next(begun, 0)
        return len(self._held[:begin].rstrip("\n"))

    def _feed_whole(self, is_last: bool) -> tuple[str, tuple[ToolCallDelta, ...]]:
        """Llama 3 answers with JSON objects, several with "; " between them, or with words."""
        if self._held.lstrip()[:1] in ("", "{", "<") and not is_last:
            return "", ()
        text, self._held = self._held, ""
        objects = _objects(text.strip().removeprefix("<|python_tag|>")) if is_last else []
        calls = [call for one in objects if (call := self._call(one))]
        return ("", tuple(calls)) if calls and len(calls) == len(objects) else (text, ())

    def _call(self, text: str) -> ToolCallDelta | None:
        """The arguments go on as the model wrote them, where they are JSON."""
        try:
            call: Any = json.loads(text)
            name, arguments = call["name"], call.get("arguments", call.get("parameters", {}))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not isinstance(name, str):
            return None
        self._index += 1
        written = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
        return ToolCallDelta(
            index=self._index, id=new_call_id(), name=name, arguments=written or "{}"
        )


def _objects(text: str) -> list[str]:
    """The JSON texts of `text`; none where anything else stands between them."""
    objects, decoder = [], json.JSONDecoder()
    while text := text.lstrip("; \n"):
        try:
            end = decoder.raw_decode(text)[1]
        except ValueError:
            return []
        objects.append(text[:end])
        text = text[end:]
    return objects
