"""/v1/embeddings and /v1/llm/embeddings: texts in, vectors out, in OpenAI's shape."""

import base64
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeAlias

import msgspec
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from engines.base import ContextLengthExceeded, Embedding, Engine, InvalidRequest
from engines.host.interpreter_turns import give_way
from engines.inputs import input_at
from engines.registry.spec import ModelSpec, Task
from server.accounts.limits import Admission
from server.api.chat.wire import Asked
from server.api.embedding_truncation import MostTokens, Side, Truncate, truncation_of
from server.api.fields import refuse
from server.api.fields_beside import EMBEDDINGS as FIELDS
from server.api.input_places import members_of, placed
from server.api.pooling import InputUsage, PoolingEndpoint, input_usage, meter, used
from server.api.prompts import TokenIds, prompts_of
from server.api.services import Services
from server.errors import ApiError
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.requests.sent_fields import SentFields
from server.requests.single import SingleRun

MAX_INPUTS = 2048

Text = Annotated[str, Field(min_length=1)]


class EmbeddingsRequest(Asked):
    """The body of the two embeddings endpoints."""

    input: Annotated[
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)]
        | TokenIds
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)],
        Field(description="A text, token ids, or an array of either: a vector for each"),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"] | None,
        Field(description="base64: little-endian 32-bit floats"),
    ] = "float"
    dimensions: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="Shorter vectors, where the model allows them"),
    ] = None
    truncate_prompt_tokens: Annotated[
        MostTokens | None,
        Field(description="A longer input is cut to so many tokens; -1: to what fits"),
    ] = None
    truncation_side: Annotated[
        Side | None, Field(description="Where it is cut; right if not given")
    ] = None
    truncate: Annotated[
        Truncate | None, Field(description="true, START or END: as truncate_prompt_tokens -1")
    ] = None


class EmbeddingVector(TypedDict):
    object: Literal["embedding"]
    index: int
    embedding: Annotated[
        list[float] | str, Field(description="Numbers, or their base64 as 32-bit floats")
    ]


class EmbeddingList(TypedDict):
    object: Literal["list"]
    data: list[EmbeddingVector]
    model: str
    usage: InputUsage


Said: TypeAlias = Callable[[EmbeddingsRequest, ModelSpec, Sequence[Embedding], int], bytes]
"""The request, its model, the vectors, their tokens -> a body; runs on a worker thread."""
EMBEDDINGS: TypeAdapter[EmbeddingsRequest] = TypeAdapter(EmbeddingsRequest)


class Embeddings(PoolingEndpoint[EmbeddingsRequest]):
    """The endpoint of both paths."""

    task: Task = "embed"
    operation, phase = "embeddings", "embed"

    def __init__(
        self, services: Services, endpoint: str, adapter: TypeAdapter[EmbeddingsRequest]
    ) -> None:
        super().__init__(services, endpoint, adapter)
        self._lengths: dict[str, int] = {}
        """Of each alias' own vectors, once there was one."""

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: EmbeddingsRequest,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> SingleRun:
        refuse(wire.model_extra, FIELDS)
        return self.job(exchange, wire, spec, record, _body)

    def job(
        self,
        exchange: Exchange,
        wire: EmbeddingsRequest,
        spec: ModelSpec,
        record: UsageRecord,
        said: Said,
    ) -> SingleRun:
        """What a checked body asks for, answered in the form of `said`. Raises ApiError 400."""
        self._check_dimensions(wire, spec)
        inputs, truncation = prompts_of(wire.input), truncation_of(wire, spec)
        salt = self.services.prefix_salts.of(spec, record.owner)
        place = members_of("input", is_array=_is_several(wire.input))

        async def work(engine: Engine) -> bytes:
            try:
                found = await engine.embed(record.record_id, inputs, truncation, salt)
                _check_lengths(found, spec)
            except InvalidRequest as refusal:
                raise placed(refusal, place) from refusal
            self._lengths[spec.alias] = len(found[0].vector)
            self._check_dimensions(wire, spec)
            meter(record, used(found))
            return await self.services.long_bodies(said, wire, spec, found, record.prompt_tokens)

        return SingleRun(
            exchange,
            self.services.fleet,
            record,
            work,
            deadline=self.deadline(exchange),
            fields=SentFields(wire),
            ledger=self.services.ledger,
            gates=self.services.gates,
            service_class=self.services.service_class,
            wire_names={"messages": "input", "prompt": "input"},
            most_tokens=sum(min(_most_tokens(x), spec.context_tokens) for x in inputs),
        )

    def _check_dimensions(self, wire: EmbeddingsRequest, spec: ModelSpec) -> None:
        """Before the model made a vector of it, only what is known of the model's."""
        asked, own = wire.dimensions, self._lengths.get(spec.alias)
        if asked is None or own is None or asked == own:
            return
        if asked < own if spec.dimensions == "any" else asked in spec.dimensions:
            return
        expected = _lengths(spec, own)
        message = f"{spec.alias} makes no vectors of {asked} dimensions; right is {expected}."
        raise ApiError.invalid(message, "dimensions", asked, expected)


def _most_tokens(x: str | Sequence[int]) -> int:
    """No token is shorter than a byte; two more mark begin and end."""
    return (len(x.encode()) if isinstance(x, str) else len(x)) + 2


def _lengths(spec: ModelSpec, own: int) -> str:
    """Those that a vector may have, in words."""
    if spec.dimensions == "any":
        return f"1 to {own}"
    if not spec.dimensions:
        return f"{own}, its vectors' length"
    return "one of " + ", ".join(str(d) for d in sorted({*spec.dimensions, own}))


def _is_several(given: object) -> bool:
    """Whether an input is an array of inputs: one array of numbers is one."""
    return isinstance(given, list) and not isinstance(given[0], int)


def _check_lengths(found: Sequence[Embedding], spec: ModelSpec) -> None:
    """Against the alias' own context, which may be less than its engine's. Raises
    ContextLengthExceeded."""
    for index, embedding in enumerate(found):
        if embedding.prompt_tokens > spec.context_tokens:
            with input_at(index):
                raise ContextLengthExceeded(embedding.prompt_tokens, None, spec.context_tokens)


def _body(
    wire: EmbeddingsRequest, spec: ModelSpec, found: Sequence[Embedding], prompt_tokens: int
) -> bytes:
    """Runs on a worker thread, and encodes vector by vector: 2,048 of them at once would hold up
    every stream for 0.1 s."""
    is_text = wire.encoding_format == "base64"
    items = []
    for index, embedding in enumerate(found):
        vector = shortened(embedding.vector, wire.dimensions)
        said = _base64(vector) if is_text else list(vector)
        item: EmbeddingVector = {"object": "embedding", "index": index, "embedding": said}
        items.append(msgspec.json.encode(item))
        give_way()
    rest = msgspec.json.encode({"model": wire.model, "usage": input_usage(used(found))})
    return b'{"object":"list","data":[' + b",".join(items) + b"]," + rest[1:]


def shortened(vector: Sequence[float], dimensions: int | None) -> Sequence[float]:
    """The first `dimensions` numbers, at length 1 again."""
    if dimensions is None or dimensions >= len(vector):
        return vector
    head = vector[:dimensions]
    length = sum(x * x for x in head) ** 0.5 or 1.0
    return [x / length for x in head]


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
