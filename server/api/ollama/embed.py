"""/api/embed and /api/embeddings: as our embeddings, in Ollama's two forms."""

import time
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec
from pydantic import TypeAdapter

from engines.base import Embedding
from engines.host.interpreter_turns import give_way
from engines.registry.spec import ModelSpec, Task
from server.accounts.limits import Admission
from server.api.embeddings import EMBEDDINGS, Embeddings, EmbeddingsRequest, shortened
from server.api.endpoint import ModelEndpoint
from server.api.fields import refuse
from server.api.ollama.fields import EMBED
from server.api.ollama.wire import OllamaEmbeddingsRequest, OllamaEmbedRequest
from server.api.services import Services
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.requests.single import SingleRun

W = TypeVar("W", bound=OllamaEmbedRequest | OllamaEmbeddingsRequest)


class OllamaEmbeddings(ModelEndpoint[W, SingleRun], Generic[W]):
    """The endpoint of both paths."""

    task: Task = "embed"

    def __init__(self, services: Services, endpoint: str, adapter: TypeAdapter[W]) -> None:
        super().__init__(services, endpoint, adapter)
        self._embeddings = Embeddings(services, endpoint, EMBEDDINGS)

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: W,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> SingleRun:
        refuse(wire.model_extra, EMBED)
        began = time.monotonic_ns()

        def said(
            asked: EmbeddingsRequest,
            spec: ModelSpec,
            found: Sequence[Embedding],
            prompt_tokens: int,
        ) -> bytes:
            vectors = _vectors(asked, found)
            if isinstance(wire, OllamaEmbeddingsRequest):
                return b'{"embedding":' + vectors[0] + b"}"
            rest = {
                "model": wire.model,
                "total_duration": time.monotonic_ns() - began,
                "load_duration": 0,
                "prompt_eval_count": prompt_tokens,
            }
            return b'{"embeddings":[' + b",".join(vectors) + b"]," + msgspec.json.encode(rest)[1:]

        return self._embeddings.job(exchange, _asked(wire), spec, record, said)

    async def run(self, exchange: Exchange, job: SingleRun) -> int:
        return await self._embeddings.run(exchange, job)


def _asked(wire: OllamaEmbedRequest | OllamaEmbeddingsRequest) -> EmbeddingsRequest:
    """As /v1/embeddings has it; what is too long is cut, where that is not forbidden."""
    if isinstance(wire, OllamaEmbeddingsRequest):
        return EmbeddingsRequest(model=wire.model, input=wire.prompt, truncate=True)
    is_cut = wire.truncate is not False
    dimensions = wire.dimensions
    return EmbeddingsRequest(
        model=wire.model, input=wire.input, truncate=is_cut, dimensions=dimensions
    )


def _vectors(asked: EmbeddingsRequest, found: Sequence[Embedding]) -> list[bytes]:
    """On a worker thread, one by one: others wait for the interpreter."""
    out = []
    for embedding in found:
        out.append(msgspec.json.encode(list(shortened(embedding.vector, asked.dimensions))))
        give_way()
    return out
