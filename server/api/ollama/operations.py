"""Every operation of Ollama's API."""

from functools import partial

import msgspec

from server.api.ollama import lists
from server.api.ollama import wire_answers as answers
from server.api.ollama.answers import CHAT_LINE, TEXT_LINE
from server.api.ollama.embed import OllamaEmbeddings
from server.api.ollama.generation import OllamaGeneration
from server.api.ollama.request import build_ollama_chat, build_ollama_generate
from server.api.ollama.wire import (
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OLLAMA_GENERATE,
    NamedModel,
    OllamaChatRequest,
    OllamaEmbeddingsRequest,
    OllamaEmbedRequest,
    OllamaGenerateRequest,
)
from server.api.openapi import examples
from server.api.openapi.operation import Operation
from server.errors import ApiError, OtherForm


def _error(error: ApiError, request_id: str) -> bytes:
    """Ollama's one body of errors."""
    return msgspec.json.encode({"error": error.message})


OLLAMA = OtherForm(error=_error, error_body=answers.OllamaError)
_own = partial(Operation, tag="ollama", form=OLLAMA)
OLLAMA_OPERATIONS: tuple[Operation, ...] = (
    _own(
        paths=("/api/chat",),
        takes_key=True,
        build=partial(
            OllamaGeneration, adapter=OLLAMA_CHAT, build=build_ollama_chat, form=CHAT_LINE
        ),
        summary="Ollama's chat",
        description="Streamed as lines of JSON, unless `stream` is false.",
        body=OllamaChatRequest,
        answer=answers.OllamaChatLine,
        line=answers.OllamaChatLine,
        requests=examples.OLLAMA_CHAT,
    ),
    _own(
        paths=("/api/generate",),
        takes_key=True,
        build=partial(
            OllamaGeneration, adapter=OLLAMA_GENERATE, build=build_ollama_generate, form=TEXT_LINE
        ),
        summary="Ollama's completion",
        description="A prompt, in the model's chat template or `raw`.",
        body=OllamaGenerateRequest,
        answer=answers.OllamaGenerateLine,
        line=answers.OllamaGenerateLine,
        requests=examples.OLLAMA_GENERATE,
    ),
    _own(
        paths=("/api/embed",),
        takes_key=True,
        build=partial(OllamaEmbeddings, adapter=OLLAMA_EMBED),
        summary="Ollama's embeddings",
        body=OllamaEmbedRequest,
        answer=answers.OllamaVectors,
    ),
    _own(
        paths=("/api/embeddings",),
        takes_key=True,
        build=partial(OllamaEmbeddings, adapter=OLLAMA_EMBEDDINGS),
        summary="Ollama's embeddings, in their older form",
        body=OllamaEmbeddingsRequest,
        answer=answers.OllamaVector,
    ),
    _own(
        paths=("/api/tags",),
        build=lists.TagsList,
        summary="Ollama's list of models",
        answer=answers.Tags,
    ),
    _own(
        paths=("/api/ps",),
        build=lists.RunningList,
        summary="Ollama's list of models that serve now",
        answer=answers.RunningModels,
    ),
    _own(
        paths=("/api/version",),
        build=lists.SpokenVersion,
        summary="The version of Ollama's API that is spoken here",
        answer=answers.OllamaVersion,
    ),
    _own(
        paths=("/api/show",),
        build=lists.ShowModel,
        summary="One model, as Ollama tells of it",
        body=NamedModel,
        answer=answers.ShownModel,
    ),
    _own(
        paths=("/api/pull",),
        build=lists.PullModel,
        summary="Success, where the model is served here",
        body=NamedModel,
        answer=answers.OllamaStatus,
    ),
    *(
        _own(
            paths=(path,),
            build=partial(lists.OperatorsAlone, method=verb.upper()),
            summary="Refused: models are the operator's",
            verb=verb,
            body=NamedModel,
            answer=answers.OllamaStatus,
        )
        for path, verb in (
            ("/api/delete", "delete"),
            ("/api/create", "post"),
            ("/api/copy", "post"),
            ("/api/push", "post"),
        )
    ),
)
