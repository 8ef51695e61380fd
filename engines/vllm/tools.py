"""Tool calls that a model makes by itself, read by vLLM's parser for its format."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from engines.answers.forced_calls import is_forced, new_call_id
from engines.answers.openai_tools import openai_tool
from engines.base import EngineUnavailable, GenerateRequest, Prompt, ToolCallDelta
from engines.vllm.split_deltas import SplitDeltas
from engines.vllm.vocabulary import Vocabulary


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
        self.is_streamed = request.stream
        self.is_parallel = request.parallel_tool_calls
        self.skips_special_tokens = self._adjusted()

    def parser(self) -> Any:
        return self.parser_class(self.tokenizer, self.wire.tools)

    def _adjusted(self) -> bool:
        """Many formats are made of special tokens, which text would leave out."""
        adjusted = self.parser().adjust_request(self.wire.model_copy())
        return bool(adjusted.skip_special_tokens)


class AutoCalls:
    """One choice's calls: feed it the answer in order; returns (text, calls)."""

    def __init__(self, reading: ToolReading, vocabulary: Vocabulary) -> None:
        self._reading = reading
        self._parser = reading.parser()
        self._pieces = SplitDeltas(vocabulary)
        self._indices: dict[int, int] = {}
        self._without_arguments: set[int] = set()

    def feed(
        self, text: str, token_ids: Sequence[int], is_last: bool
    ) -> tuple[str, tuple[ToolCallDelta, ...]]:
        if not self._reading.is_streamed:
            return self._whole(text, token_ids)
        pieces = list(self._pieces.split(text, token_ids))
        parsed = [self._parsed(*piece, is_last and piece is pieces[-1]) for piece in pieces]
        calls = [call for _, some in parsed for call in some]
        if is_last:
            calls += [ToolCallDelta(i, arguments="{}") for i in sorted(self._without_arguments)]
        return "".join(content for content, _ in parsed), joined(calls)

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
        return ToolCallDelta(
            index=index,
            id=(call.id or new_call_id()) if is_new else None,
            name=function.name if is_new and function else None,
            arguments=arguments,
        )

    def _whole(self, text: str, token_ids: Sequence[int]) -> tuple[str, tuple[ToolCallDelta, ...]]:
        _, content, parsed = self._parser.parse(
            text,
            self._reading.wire,
            enable_auto_tools=True,
            model_output_token_ids=list(token_ids),
        )
        kept = (parsed or [])[: None if self._reading.is_parallel else 1]
        calls = (
            ToolCallDelta(index, call.id or new_call_id(), call.name, call.arguments or "{}")
            for index, call in enumerate(kept)
        )
        return content or "", tuple(calls)


def joined(calls: Iterable[ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    """Pieces of one call that follow each other are one piece."""
    whole: list[ToolCallDelta] = []
    for call in calls:
        if whole and whole[-1].index == call.index and call.name is None:
            last = whole.pop()
            call = replace(last, arguments=last.arguments + call.arguments)
        whole.append(call)
    return tuple(whole)
