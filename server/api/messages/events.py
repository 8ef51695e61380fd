"""The answer of /v1/messages: the events of a stream, in Anthropic's order, and a whole one."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from engines.base import Delta, Usage
from server.api.messages.blocks import Block, Blocks, BlockStep, message_usage
from server.api.messages.errors import stream_error
from server.api.messages.wire_answers import MessageAnswer
from server.error_body import Error

_json = msgspec.json.Encoder().encode
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def event(kind: str, members: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + _json({"type": kind, **members}) + b"\n\n"


PING = event("ping", {})


class MessageStream:
    """One streamed answer. A `Metered` stream: its beginning says the prompt's tokens."""

    __slots__ = ("_blocks", "_head", "_message", "_request_id", "_usage")

    _usage: Callable[[], Usage]

    def __init__(self, message: MessageAnswer, blocks: Blocks, request_id: str) -> None:
        self._message = message
        self._blocks = blocks
        self._request_id = request_id
        self._head = b""
        """All that pieces of the open block share."""

    def follow(self, usage: Callable[[], Usage]) -> None:
        self._usage = usage

    def open(self) -> bytes:
        message = {**self._message, "usage": message_usage(self._usage())}
        return event("message_start", {"message": message}) + PING

    def delta(self, d: Delta) -> bytes:
        if self._blocks.goes_on(d):
            return self._head + _json(d.text) + b"}}\n\n"
        return b"".join(map(self._step, self._blocks.add(d)))

    def close(self, usage: Usage) -> bytes:
        out = b"".join(map(self._step, self._blocks.end()))
        end = {"stop_reason": self._blocks.stop_reason, "stop_sequence": self._blocks.stop}
        out += event("message_delta", {"delta": end, "usage": message_usage(usage)})
        return out + event("message_stop", {})

    def fail(self, body: Error) -> bytes:
        error = stream_error(body, self._request_id)
        return b"event: error\ndata: " + _json(error) + b"\n\n"

    def _step(self, step: BlockStep) -> bytes:
        block = step.block
        match step.kind:
            case "piece":
                return self._head + _json(step.piece) + b"}}\n\n"
            case "open":
                return self._opened(block)
        out = self._signed(block) if block.kind == "thinking" else b""
        return out + event("content_block_stop", {"index": block.index})

    def _opened(self, block: Block) -> bytes:
        kind, member = _DELTAS[block.kind]
        begun = {"type": "content_block_delta", "index": block.index, "delta": {"type": kind}}
        self._head = (
            b"event: content_block_delta\ndata: " + _json(begun)[:-2] + f',"{member}":'.encode()
        )
        return event("content_block_start", {"index": block.index, "content_block": block.begun()})

    def _signed(self, block: Block) -> bytes:
        signed = {"type": "signature_delta", "signature": block.signature()}
        return event("content_block_delta", {"index": block.index, "delta": signed})


class MessageWhole:
    """The body of one whole answer."""

    __slots__ = ("_blocks", "_message")

    def __init__(self, message: MessageAnswer, blocks: Blocks) -> None:
        self._message = message
        self._blocks = blocks

    def add(self, d: Delta) -> None:
        for _ in self._blocks.add(d):
            pass

    def body(self, usage: Usage) -> bytes:
        answer: MessageAnswer = {
            **self._message,
            "content": [block.whole() for block in self._blocks.blocks],
            "stop_reason": self._blocks.stop_reason,
            "stop_sequence": self._blocks.stop,
            "usage": message_usage(usage),
        }
        return _json(answer)
