"""The operations of the API as /openapi.json tells them: names, bodies, answers, examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from server.api.chat.wire import ChatRequest
from server.api.completions import CompletionRequest
from server.api.embeddings import EmbeddingsRequest
from server.api.openapi import answers
from server.api.responses.wire import ResponsesRequest
from server.api.tokenize import TokenizeRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation under all its paths."""

    paths: tuple[str, ...]
    summary: str
    tag: str
    answer: type[BaseModel] | None
    description: str = ""
    method: str = "post"
    body: type[BaseModel] | None = None
    event: type[BaseModel] | None = None
    """What one event of a stream holds; None: it does not stream."""
    requests: Mapping[str, Any] = field(default_factory=dict)
    """Example bodies by name."""
    example: Any = None
    """An example answer."""
    errors: Sequence[int] = ()
    needs_key: bool = True


_ASKING = (400, 401, 402, 403, 404, 405, 413, 415, 429, 500, 503, 504)
_READING = (401, 403, 405, 429, 500)
_CAPITAL = "What is the capital of Norway?"
_SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
_CHAT_ANSWER = {
    "id": "chatcmpl-abc123",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "qwen3-235b-thinking",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The capital of Norway is Oslo."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32},
}
CHAT_EXAMPLES: Mapping[str, Any] = {
    "a question": {
        "model": "qwen3-235b-thinking",
        "messages": [_SYSTEM, {"role": "user", "content": _CAPITAL}],
        "temperature": 0.7,
        "max_tokens": 256,
    },
    "hello": {
        "model": "mixtral-8x7b",
        "messages": [_SYSTEM, {"role": "user", "content": "Hello!"}],
        "temperature": 0.7,
        "max_tokens": 100,
    },
    "streaming": {
        "model": "qwen3-80b-instruct",
        "messages": [{"role": "user", "content": "Write a story"}],
        "stream": True,
        "max_tokens": 500,
    },
    "an AI agent": {
        "model": "deepseek-v3",
        "messages": [{"role": "user", "content": "Help me code"}],
        "agent_id": "ephemeral",
        "tools": [],
        "tool_choice": "auto",
    },
}
"""The published page's own, word for word."""
_MODELS_ANSWER = {
    "object": "list",
    "data": [
        {"id": alias, "object": "model", "owned_by": "wayscloud", "created": 1700000000}
        for alias in ("mixtral-8x7b", "qwen3-80b-instruct", "deepseek-v3")
    ],
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        paths=("/v1/llm/models", "/v1/models"),
        method="get",
        summary="List models",
        tag="models",
        description="The models that the key may use.",
        answer=answers.ModelList,
        example=_MODELS_ANSWER,
        errors=_READING,
    ),
    Operation(
        paths=("/v1/llm/models/{model}", "/v1/models/{model}"),
        method="get",
        summary="One model",
        tag="models",
        answer=answers.Model,
        example=_MODELS_ANSWER["data"][0],
        errors=(*_READING, 404),
    ),
    Operation(
        paths=("/v1/chat/completions", "/v1/llm/chat/completions", "/v1/llm/chat"),
        summary="Chat completion",
        tag="chat",
        description=(
            "Three names of one operation. Whole, or with `stream: true` as server-sent events "
            "that end with `data: [DONE]`. For every optional field `null` means: not given. "
            "A field that nobody knows is accepted and has no effect."
        ),
        body=ChatRequest,
        answer=answers.ChatCompletion,
        event=answers.ChatCompletionChunk,
        requests=CHAT_EXAMPLES,
        example=_CHAT_ANSWER,
        errors=_ASKING,
    ),
    Operation(
        paths=("/v1/completions",),
        summary="Legacy completion",
        tag="completions",
        description="A text goes on, without a chat template. OpenAI's older form.",
        body=CompletionRequest,
        answer=answers.Completion,
        event=answers.Completion,
        requests={"a text": {"model": "mixtral-8x7b", "prompt": "Oslo is", "max_tokens": 20}},
        errors=_ASKING,
    ),
    Operation(
        paths=("/v1/responses",),
        summary="Response",
        tag="responses",
        description="OpenAI's newer form of chat, without anything stored.",
        body=ResponsesRequest,
        answer=answers.Response,
        event=answers.ResponseEvent,
        requests={
            "a question": {
                "model": "mixtral-8x7b",
                "instructions": "You are a helpful assistant.",
                "input": _CAPITAL,
                "max_output_tokens": 256,
            }
        },
        errors=_ASKING,
    ),
    Operation(
        paths=("/v1/embeddings", "/v1/llm/embeddings"),
        summary="Embeddings",
        tag="embeddings",
        description="A vector for every input. For models whose task is `embed`.",
        body=EmbeddingsRequest,
        answer=answers.EmbeddingList,
        requests={"two texts": {"model": "all-minilm-l6-v2", "input": ["Oslo", "Bergen"]}},
        errors=_ASKING,
    ),
    Operation(
        paths=("/v1/tokenize",),
        summary="Count tokens",
        tag="tokenize",
        description="What a request would be billed as input, before it is sent. Costs nothing.",
        body=TokenizeRequest,
        answer=answers.TokenCount,
        requests={
            "messages": {
                "model": "mixtral-8x7b",
                "messages": [{"role": "user", "content": _CAPITAL}],
            }
        },
        errors=_ASKING,
    ),
    Operation(
        paths=("/health",),
        method="get",
        summary="The process lives",
        tag="operations",
        answer=answers.Health,
        errors=(405,),
        needs_key=False,
    ),
    Operation(
        paths=("/ready",),
        method="get",
        summary="Every preloaded model serves",
        tag="operations",
        description="503 with the same members while it does not.",
        answer=answers.Readiness,
        errors=(405,),
        needs_key=False,
    ),
    Operation(
        paths=("/metrics",),
        method="get",
        summary="Metrics for Prometheus",
        tag="operations",
        answer=None,
        errors=(405,),
        needs_key=False,
    ),
)
