"""Delta -> bytes of a chat stream: a chunk's frame is built once an answer, not once a token."""

from typing import Any

import msgspec

from engines.base import Delta, TokenLogprob, ToolCallDelta, Usage
from server.api.chat import wire_answers
from server.api.chat.wire_answers import (
    ChoicePiece,
    FunctionPiece,
    Logprobs,
    MessagePiece,
    ToolCallPiece,
    TopLogprob,
)
from server.error_body import Error

DONE = b"data: [DONE]\n\n"
_ROLE = b',"choices":[{"index":%d,"delta":{"role":"assistant","content":""},"finish_reason":null}]'
_END = b',"choices":[{"index":%d,"delta":{},"finish_reason":"%b"}]'
_json = msgspec.json.Encoder().encode


def event(payload: Any) -> bytes:
    """One server-sent event with a JSON payload."""
    return b"data: " + _json(payload) + b"\n\n"


class ChatStream:
    """The chunks of one streamed chat answer; all share id, created and model."""

    __slots__ = ("_ends", "_head", "_include_usage", "_n", "_shows_reasoning", "_tail", "_text")

    def __init__(
        self,
        answer_id: str,
        created: int,
        alias: str,
        n: int,
        include_usage: bool,
        shows_reasoning: bool = True,
    ) -> None:
        members = (
            f'"id":"{answer_id}","object":"chat.completion.chunk","created":{created},"model":'
        )
        self._head = b"data: {" + members.encode() + _json(alias)
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._text = [
            self._head + b',"choices":[{"index":%d,"delta":{"content":' % i for i in range(n)
        ]
        self._ends: list[bytes] = []
        self._include_usage = include_usage
        self._shows_reasoning = shows_reasoning
        self._n = n

    def open(self) -> bytes:
        """The first chunk of every choice: the role, and no content yet."""
        return b"".join(self._head + _ROLE % i + self._tail for i in range(self._n))

    def delta(self, d: Delta) -> bytes:
        """The chunks of one delta. A finish_reason is kept for `close`."""
        if d.finish_reason is None and d.text and not (d.reasoning or d.tool_calls or d.logprobs):
            return self._text[d.index] + _json(d.text) + b'},"finish_reason":null}]' + self._tail
        return self._rare(d)

    def close(self, usage: Usage) -> bytes:
        """The last chunks: finish reasons, usage if asked for, and [DONE]."""
        out = b"".join(self._ends)
        if self._include_usage:
            out += self._head + b',"choices":[],"usage":' + _json(usage_body(usage)) + b"}\n\n"
        return out + DONE

    def fail(self, body: Error) -> bytes:
        """An error after the first byte: one event, then [DONE]."""
        return event(body) + DONE

    def _rare(self, d: Delta) -> bytes:
        out = b""
        if d.reasoning and self._shows_reasoning:
            # As in a whole answer, the root speaks of the first choice alone.
            metadata = b',"model_output_metadata":{"reasoning":' + _json(d.reasoning) + b"}"
            root = b"" if d.index else metadata
            out += self._chunk(d.index, {"reasoning_content": d.reasoning}, root)
        logprobs = answer_logprobs(d)
        if d.text or logprobs:
            out += self._chunk(d.index, {"content": d.text}, logprobs=logprobs)
        for call in d.tool_calls:  # one a chunk, as OpenAI has it: LlamaIndex reads the first alone
            out += self._chunk(d.index, {"tool_calls": [tool_call_chunk(call)]})
        if d.finish_reason:
            end = _END % (d.index, d.finish_reason.encode())
            self._ends.append(self._head + end + self._tail)
        return out

    def _chunk(
        self,
        index: int,
        delta: MessagePiece,
        root: bytes = b"",
        *,
        logprobs: tuple[TokenLogprob, ...] = (),
    ) -> bytes:
        choice: ChoicePiece = {"index": index, "delta": delta, "finish_reason": None}
        if logprobs:
            told = logprobs_body(logprobs)
            choice = {"index": index, "delta": delta, "logprobs": told, "finish_reason": None}
        return self._head + b',"choices":[' + _json(choice) + b"]" + root + self._tail


def usage_body(usage: Usage) -> wire_answers.Usage:
    """The documented usage member; details only where they say something."""
    body: wire_answers.Usage = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return body


def answer_logprobs(d: Delta) -> tuple[TokenLogprob, ...]:
    """Those of the answer's tokens: in a delta the thought stands first, and has none to show."""
    return d.logprobs[d.reasoning_token_count :]


def logprobs_body(logprobs: tuple[TokenLogprob, ...]) -> Logprobs:
    """OpenAI's form of token log probabilities."""
    return {
        "content": [
            {**_token(x), "top_logprobs": [_token(alternative) for alternative in x.top]}
            for x in logprobs
        ],
        "refusal": None,
    }


def _token(x: TokenLogprob) -> TopLogprob:
    return {"token": x.token, "logprob": finite(x.logprob), "bytes": list(x.bytes)}


def finite(logprob: float) -> float:
    """A token that cannot come has -inf, which JSON has no word for; OpenAI says -9999."""
    return max(logprob, -9999.0)


def tool_call_chunk(c: ToolCallDelta) -> ToolCallPiece:
    """One piece of a tool call in a stream; id, type and name come with the first."""
    if c.id is None:
        return {"index": c.index, "function": {"arguments": c.arguments}}
    function: FunctionPiece = {"name": c.name or "", "arguments": c.arguments}
    return {"index": c.index, "id": c.id, "type": "function", "function": function}
