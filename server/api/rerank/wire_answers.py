"""What rerank and score answer."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from server.api.chat.wire_answers import Usage
from server.api.pooling import InputUsage


class RerankResult(TypedDict):
    index: Annotated[int, Field(description="Its document's place in the request")]
    relevance_score: float
    document: NotRequired[
        Annotated[dict[str, Any], Field(description="As it came; a text as `{text}`")]
    ]


class BilledTokens(TypedDict):
    input_tokens: int


class ApiVersion(TypedDict):
    version: Literal["1", "2"]


class RerankMeta(TypedDict):
    """Cohere's."""

    api_version: ApiVersion
    billed_units: BilledTokens
    tokens: BilledTokens


class RerankAnswer(TypedDict):
    id: str
    object: Literal["list"]
    model: str
    results: Annotated[list[RerankResult], Field(description="The most relevant first")]
    usage: InputUsage
    meta: RerankMeta


class PairScore(TypedDict):
    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(TypedDict):
    id: str
    object: Literal["list"]
    created: int
    model: str
    data: Annotated[list[PairScore], Field(description="In the pairs' order")]
    usage: Usage
