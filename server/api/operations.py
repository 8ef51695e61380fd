"""Every operation of the API, once: its paths, who serves it, what goes in and what comes out.

Routing, /openapi.json and the label `endpoint` of /metrics are read from here. The admin API is
FastAPI's own (server/api/admin/).
"""

from functools import partial

from server.api import ops
from server.api.audio.operations import AUDIO_OPERATIONS
from server.api.batches.operations import BATCH_OPERATIONS
from server.api.chat.build import build_chat
from server.api.chat.wire import CHAT, ChatRequest
from server.api.chat.wire_answers import ChatCompletion, ChatCompletionChunk
from server.api.completion_answers import Completion
from server.api.completions import COMPLETIONS, CompletionRequest, build_completion
from server.api.embeddings import EMBEDDINGS, EmbeddingList, Embeddings, EmbeddingsRequest
from server.api.files.operations import FILE_OPERATIONS
from server.api.generation import Generation
from server.api.memory.operations import MEMORY_OPERATIONS
from server.api.memory.responses import Responses
from server.api.messages.endpoints import CountTokens, Messages
from server.api.messages.errors import ANTHROPIC
from server.api.messages.wire import CountRequest, MessagesRequest
from server.api.messages.wire_answers import CountedTokens, MessageAnswer, MessageEvent
from server.api.models import ListModels, Model, ModelList, OneModel
from server.api.ollama.operations import OLLAMA, OLLAMA_OPERATIONS
from server.api.openapi import examples
from server.api.openapi.operation import Operation, Port
from server.api.rerank.operations import RERANK_OPERATIONS
from server.api.responses.wire import ResponsesRequest
from server.api.responses.wire_answers import Response, ResponseEvent
from server.api.tokenize import TOKENIZE, TokenCount, Tokenize, TokenizeRequest
from server.api.welcome import Welcome, welcome
from server.errors import OtherForm

OPS: frozenset[Port] = frozenset({"ops"})
BOTH: frozenset[Port] = frozenset({"api", "ops"})
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        paths=("/v1/llm/models", "/v1/models"),
        tag="models",
        build=ListModels,
        summary="List models",
        description="The models that the key may use.",
        answer=ModelList,
        example={"object": "list", "data": list(examples.MODELS)},
    ),
    Operation(
        paths=("/v1/llm/models/{model}", "/v1/models/{model}"),
        tag="models",
        build=OneModel,
        summary="One model",
        answer=Model,
        example=examples.MODELS[0],
    ),
    Operation(
        paths=("/v1/chat/completions", "/v1/llm/chat/completions", "/v1/llm/chat"),
        tag="chat",
        takes_key=True,
        build=partial(Generation, adapter=CHAT, build=build_chat),
        summary="Chat completion",
        description=(
            "Three names of one operation. Whole, or with `stream: true` as server-sent events "
            "that end with `data: [DONE]`. For every optional field `null` means: not given. "
            "A field that nobody knows is accepted and has no effect."
        ),
        body=ChatRequest,
        answer=ChatCompletion,
        event=ChatCompletionChunk,
        requests=examples.CHAT,
        example=examples.CHAT_ANSWER,
    ),
    Operation(
        paths=("/v1/completions",),
        tag="completions",
        takes_key=True,
        build=partial(Generation, adapter=COMPLETIONS, build=build_completion),
        summary="Legacy completion",
        description="A text goes on, without a chat template. OpenAI's older form.",
        body=CompletionRequest,
        answer=Completion,
        event=Completion,
        requests=examples.COMPLETION,
    ),
    Operation(
        paths=("/v1/responses",),
        tag="responses",
        takes_key=True,
        build=Responses,
        summary="Response",
        description="OpenAI's newer form of chat. With `store` it is kept for its owner.",
        body=ResponsesRequest,
        answer=Response,
        event=ResponseEvent,
        requests=examples.RESPONSE,
    ),
    Operation(
        paths=("/v1/messages",),
        tag="messages",
        takes_key=True,
        build=Messages,
        summary="Message",
        description="Anthropic's form of chat.",
        body=MessagesRequest,
        answer=MessageAnswer,
        event=MessageEvent,
        requests=examples.MESSAGES,
        form=ANTHROPIC,
    ),
    Operation(
        paths=("/v1/messages/count_tokens",),
        tag="messages_count",
        build=CountTokens,
        summary="Count a message's tokens",
        description="What it would be billed as input. Costs nothing.",
        body=CountRequest,
        answer=CountedTokens,
        form=ANTHROPIC,
    ),
    Operation(
        paths=("/v1/embeddings", "/v1/llm/embeddings"),
        tag="embeddings",
        takes_key=True,
        build=partial(Embeddings, adapter=EMBEDDINGS),
        summary="Embeddings",
        description="A vector for every input. For models whose task is `embed`.",
        body=EmbeddingsRequest,
        answer=EmbeddingList,
        requests=examples.EMBEDDINGS,
    ),
    Operation(
        paths=("/v1/tokenize",),
        tag="tokenize",
        build=partial(Tokenize, adapter=TOKENIZE),
        summary="Count tokens",
        description="What a request would be billed as input, before it is sent. Costs nothing.",
        body=TokenizeRequest,
        answer=TokenCount,
        requests=examples.TOKENIZE,
    ),
    Operation(
        paths=("/",),
        tag="operations",
        build=welcome,
        summary="What runs here, and where its documentation is",
        description="JSON; a page for a browser (`Accept: text/html`).",
        answer=Welcome,
        ports=BOTH,
    ),
    Operation(
        paths=("/health",),
        tag="operations",
        build=ops.health,
        summary="The process lives",
        answer=ops.Health,
        ports=BOTH,
    ),
    Operation(
        paths=("/ready",),
        tag="operations",
        build=ops.ready,
        summary="Every preloaded model serves",
        description="503 with the same members while it does not.",
        answer=ops.Readiness,
        ports=OPS,
    ),
    Operation(
        paths=("/metrics",),
        tag="operations",
        build=ops.scrape,
        summary="Metrics for Prometheus",
        answer=None,
        ports=OPS,
    ),
    *AUDIO_OPERATIONS,
    *MEMORY_OPERATIONS,
    *RERANK_OPERATIONS,
    *FILE_OPERATIONS,
    *BATCH_OPERATIONS,
    *OLLAMA_OPERATIONS,
)


def form_at(path: str) -> OtherForm | None:
    """Whose API a path is of, also where nothing is there; None: the service's own."""
    if f"{path}/".startswith("/v1/messages/"):
        return ANTHROPIC
    return OLLAMA if path.startswith("/api/") else None
