"""Deltas -> the content blocks of a message: thinking, text, calls, in their order."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engines.base import Delta, ToolCallDelta, Usage
from server.api.messages.wire_answers import MessageUsage, SaidBlock, StopReason

BlockKind = Literal["text", "thinking", "tool_use"]


@dataclass(slots=True)
class Block:
    """One content block; complete once another begins, or the answer ends."""

    kind: BlockKind
    index: int
    call: ToolCallDelta | None = None
    """tool_use: its first piece, with id and name."""
    pieces: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        return "".join(self.pieces)

    def begun(self) -> SaidBlock:
        """As it stands at its beginning."""
        if self.kind == "text":
            return {"type": "text", "text": ""}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "tool_use", "id": self._id, "name": self._name, "input": {}}

    def whole(self) -> SaidBlock:
        if self.kind == "text":
            return {"type": "text", "text": self.said}
        if self.kind == "thinking":
            return {"type": "thinking", "thinking": self.said, "signature": self.signature()}
        return {"type": "tool_use", "id": self._id, "name": self._name, "input": self._input()}

    def signature(self) -> str:
        """Of a trace: clients give it back as it is, and nobody looks at it here."""
        return b64encode(hashlib.sha256(self.said.encode()).digest()).decode()

    @property
    def _id(self) -> str:
        return (self.call and self.call.id) or ""

    @property
    def _name(self) -> str:
        return (self.call and self.call.name) or ""

    def _input(self) -> dict[str, object]:
        """Nothing, where it was cut: max_tokens is the stop_reason then."""
        try:
            found = json.loads(self.said or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class BlockStep(NamedTuple):
    """What a delta did to a block."""

    kind: Literal["open", "piece", "close"]
    block: Block
    piece: str = ""


class Blocks:
    """Those of one answer."""

    def __init__(self, shows_thinking: bool) -> None:
        self._shows_thinking = shows_thinking
        self.blocks: list[Block] = []
        self._open: Block | None = None
        self._is_cut = False
        self.stop: str | None = None
        """The stop sequence that ended it."""

    @property
    def stop_reason(self) -> StopReason:
        if self._is_cut:
            return "max_tokens"
        if any(block.kind == "tool_use" for block in self.blocks):
            return "tool_use"
        return "end_turn" if self.stop is None else "stop_sequence"

    def goes_on(self, d: Delta) -> bool:
        """Whether `d` is only more text of the open block; then it is taken. The usual case."""
        block = self._open
        if block is None or block.kind != "text" or not d.text:
            return False
        if d.finish_reason or d.reasoning or d.tool_calls:
            return False
        block.pieces.append(d.text)
        return True

    def add(self, d: Delta) -> Iterator[BlockStep]:
        if d.finish_reason is not None:
            self._is_cut, self.stop = d.finish_reason == "length", d.stop
        if d.reasoning and self._shows_thinking:
            yield from self._piece("thinking", d.reasoning)
        if d.text:
            yield from self._piece("text", d.text)
        for call in d.tool_calls:
            yield from self._called(call)

    def end(self) -> Iterator[BlockStep]:
        if self._open is not None:
            yield BlockStep("close", self._open)
        self._open = None

    def _piece(self, kind: BlockKind, piece: str) -> Iterator[BlockStep]:
        if self._open is None or self._open.kind != kind:
            yield from self._begin(Block(kind, len(self.blocks)))
        yield self._more(piece)

    def _called(self, call: ToolCallDelta) -> Iterator[BlockStep]:
        opened = self._open.call if self._open else None
        if opened is None or opened.index != call.index:
            yield from self._begin(Block("tool_use", len(self.blocks), call))
        if call.arguments:
            yield self._more(call.arguments)

    def _begin(self, block: Block) -> Iterator[BlockStep]:
        yield from self.end()
        self.blocks.append(block)
        self._open = block
        yield BlockStep("open", block)

    def _more(self, piece: str) -> BlockStep:
        assert self._open is not None
        self._open.pieces.append(piece)
        return BlockStep("piece", self._open, piece)


def message_usage(usage: Usage) -> MessageUsage:
    """What is billed, in Anthropic's parts: cached tokens stand apart."""
    told: MessageUsage = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return told
