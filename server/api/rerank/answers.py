"""Scores -> the bodies of rerank and score. Both run on a worker thread."""

import time
from collections.abc import Sequence

import msgspec

from engines.base import Score
from server.api.chat.stream import usage_body
from server.api.pooling import input_usage, used
from server.api.rerank.wire import Document, RerankRequest, ScoreRequest
from server.api.rerank.wire_answers import (
    ApiVersion,
    PairScore,
    RerankAnswer,
    RerankResult,
    ScoreAnswer,
)


def rerank_body(
    wire: RerankRequest, request_id: str, version: ApiVersion, scores: Sequence[Score]
) -> bytes:
    """The most relevant first; of equals the first in the request."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index].value, index))
    usage = input_usage(used(scores))
    tokens = usage["prompt_tokens"]
    answer: RerankAnswer = {
        "id": f"rerank-{request_id}",
        "object": "list",
        "model": wire.model,
        "results": [_result(wire, index, scores[index]) for index in order[: wire.top_n or None]],
        "usage": usage,
        "meta": {
            "api_version": version,
            "billed_units": {"input_tokens": tokens},
            "tokens": {"input_tokens": tokens},
        },
    }
    return msgspec.json.encode(answer)


def _result(wire: RerankRequest, index: int, score: Score) -> RerankResult:
    result: RerankResult = {"index": index, "relevance_score": score.value}
    if wire.return_documents:
        result["document"] = _shown(wire.documents[index])
    return result


def _shown(document: Document) -> dict[str, object]:
    return {"text": document} if isinstance(document, str) else document


def score_body(wire: ScoreRequest, request_id: str, scores: Sequence[Score]) -> bytes:
    """In the pairs' order."""
    data: list[PairScore] = [
        {"index": index, "object": "score", "score": score.value}
        for index, score in enumerate(scores)
    ]
    answer: ScoreAnswer = {
        "id": f"score-{request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": wire.model,
        "data": data,
        "usage": usage_body(used(scores)),
    }
    return msgspec.json.encode(answer)
