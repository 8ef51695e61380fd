"""Tool calls that a model makes by itself, read by vLLM's parser for its format."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from engines.answers.call_ids import CallIds
from engines.answers.forced_calls import is_forced
from engines.answers.openai_tools import openai_tool
from engines.answers.thinking import ThinkingSplitter
from engines.base import EngineUnavailable, GenerateRequest, Prompt, ToolCallDelta
from engines.vllm.split_deltas import SplitDeltas
from engines.vllm.vocabulary import Vocabulary

_HELD_FROM = {"functiongemma": "<start_function_call>"}
"""Parser -> the token from which on its stream is read as a whole, at its end: vLLM's closes a
call's arguments after the first of them, and goes on behind (0.32.0)."""


def is_auto(request: GenerateRequest) -> bool:
    """Whether the model sees tools and may call them."""
    return (
        request.tool_parser is not None
        and bool(request.tools)
        and request.tool_choice != "none"
        and not is_forced(request)
    )


class ToolReading:
    """One request's way to read calls; each choice has its own `AutoCalls`."""

    def __init__(self, request: GenerateRequest, prompt: Prompt, tokenizer: Any) -> None:
        # vllm.entrypoints moves with every release; the parsers' own module has the name.
        from vllm.parser import ParserManager
        from vllm.parser.abstract_parser import ChatCompletionRequest

        try:
            self.parser_class = ParserManager.get_parser(
                tool_parser_name=request.tool_parser, enable_auto_tools=True
            )
        except TypeError as error:
            raise EngineUnavailable(
                f"vLLM has no tool parser {request.tool_parser!r}; see tool_parser in the registry."
            ) from error
        self.wire = ChatCompletionRequest(
            model="",
            messages=[{"role": "user", "content": ""}],
            tools=[openai_tool(tool) for tool in request.tools],
            tool_choice="auto",
            parallel_tool_calls=request.parallel_tool_calls,
        )
        self.tokenizer = tokenizer
        self.prompt_token_ids = list(prompt.token_ids)
        self.ids = CallIds(request)
        self.is_streamed = request.stream
        self.is_parallel = request.parallel_tool_calls
        self.held_from = _HELD_FROM.get(request.tool_parser or "")
        self.skips_special_tokens = self._adjusted()

    def parser(self) -> Any:
        return self.parser_class(self.tokenizer, self.wire.tools)

    def _adjusted(self) -> bool:
        """Many formats are made of special tokens, which text would leave out."""
        adjusted = self.parser().adjust_request(self.wire.model_copy())
        return bool(adjusted.skip_special_tokens)


class AutoCalls:
    """One choice's answer with calls: `feed` it in order, thoughts and all.

    Each token goes alone through the splitter and the parser, also where they came merged: both
    read a mark by its token, and a merged delta's text tells no more which letters are whose once
    a thought was taken out of it.
    """

    def __init__(
        self, reading: ToolReading, vocabulary: Vocabulary, splitter: ThinkingSplitter | None
    ) -> None:
        self._reading = reading
        self._parser = reading.parser()
        self._splitter = splitter
        self._pieces = SplitDeltas(vocabulary)
        self._held: list[_Part] = []
        self._indices: dict[int, int] = {}
        self._without_arguments: set[int] = set()

    def feed(
        self, text: str, token_ids: Sequence[int], is_last: bool
    ) -> tuple[str, str, int, tuple[ToolCallDelta, ...]]:
        """(thought, answer, the thought's tokens, calls)"""
        pieces = list(self._pieces.split(text, token_ids))
        ends = [is_last and number == len(pieces) for number in range(1, len(pieces) + 1)]
        parts = [self._split(*piece, end) for piece, end in zip(pieces, ends, strict=True)]
        thought, count = "".join(part.thought for part in parts), sum(p.count for p in parts)
        if self._reading.is_streamed:
            answer, calls = self._streamed(zip(parts, ends, strict=True))
        else:
            answer, calls = self._whole(parts)
        return thought, answer, count, calls

    def _split(self, text: str, token_ids: Sequence[int], is_last: bool) -> "_Part":
        if self._splitter is None:
            return _Part("", text, 0, token_ids)
        thought, answer, count = self._splitter.feed(text, token_ids, is_last)
        return _Part(thought, answer, count, token_ids[count:])

    def _streamed(
        self, parts: Iterable[tuple["_Part", bool]]
    ) -> tuple[str, tuple[ToolCallDelta, ...]]:
        answer, calls = "", list[ToolCallDelta]()
        for part, is_last in parts:
            content, some = self._read(part, is_last)
            answer, calls = answer + content, [*calls, *some]
        return answer, joined(calls)

    def _read(self, part: "_Part", is_last: bool) -> tuple[str, Sequence[ToolCallDelta]]:
        begins_held = self._reading.held_from and self._reading.held_from in part.answer
        if self._held or begins_held:
            self._held.append(part)
            return self._whole(self._held) if is_last else ("", ())
        if not (part.answer or part.answer_ids or is_last):
            return "", ()
        content, calls = self._parsed(part.answer, part.answer_ids, is_last)
        owed = sorted(self._without_arguments) if is_last else ()
        return content, [*calls, *(ToolCallDelta(index, arguments="{}") for index in owed)]

    def _parsed(
        self, text: str, token_ids: Sequence[int], is_last: bool
    ) -> tuple[str, Sequence[ToolCallDelta]]:
        message = self._parser.parse_delta(
            text,
            list(token_ids),
            self._reading.wire,
            self._reading.prompt_token_ids,
            finished=is_last,
        )
        if message is None:
            return "", ()
        calls = [self._call(call) for call in message.tool_calls or () if self._keeps(call)]
        return message.content or "", calls

    def _keeps(self, call: Any) -> bool:
        return self._reading.is_parallel or call.index == 0

    def _call(self, call: Any) -> ToolCallDelta:
        function = call.function
        is_new = call.index not in self._indices
        index = self._indices.setdefault(call.index, len(self._indices))
        arguments = (function.arguments or "") if function else ""
        if arguments:
            self._without_arguments.discard(index)
        elif is_new:
            self._without_arguments.add(index)
        name = function.name if function else None
        return ToolCallDelta(
            index=index,
            id=(call.id or self._reading.ids.new(name or "", index)) if is_new else None,
            name=name if is_new else None,
            arguments=arguments,
        )

    def _whole(self, parts: Sequence["_Part"]) -> tuple[str, tuple[ToolCallDelta, ...]]:
        _, content, parsed = self._parser.parse(
            "".join(part.answer for part in parts),
            self._reading.wire,
            enable_auto_tools=True,
            model_output_token_ids=[i for part in parts for i in part.answer_ids],
        )
        kept = (parsed or [])[: None if self._reading.is_parallel else 1]
        calls = (
            ToolCallDelta(
                index,
                call.id or self._reading.ids.new(call.name, index),
                call.name,
                call.arguments or "{}",
            )
            for index, call in enumerate(kept)
        )
        return content or "", tuple(calls)


@dataclass(frozen=True, slots=True)
class _Part:
    """One token, as a rule, of an answer."""

    thought: str
    answer: str
    count: int
    """Of its tokens, those that belong to a thought."""
    answer_ids: Sequence[int]


def joined(calls: Iterable[ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    """Pieces of one call that follow each other are one piece."""
    whole: list[ToolCallDelta] = []
    for call in calls:
        if whole and whole[-1].index == call.index and call.name is None:
            last = whole.pop()
            call = replace(last, arguments=last.arguments + call.arguments)
        whole.append(call)
    return tuple(whole)
