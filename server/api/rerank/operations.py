"""The operations of rerank and score."""

from functools import partial

from server.api.openapi.operation import Operation
from server.api.rerank.endpoints import Rerank, Scores
from server.api.rerank.wire import RERANK, SCORE, RerankRequest, ScoreRequest
from server.api.rerank.wire_answers import RerankAnswer, ScoreAnswer

_DOCUMENTS = ["Oslo is the capital of Norway.", "Bergen has rain."]
RERANK_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        paths=("/v1/rerank", "/v2/rerank", "/rerank"),
        tag="rerank",
        build=partial(Rerank, adapter=RERANK),
        summary="Rerank",
        description=(
            "Documents by their relevance to a query, in Cohere's and Jina's forms. For models "
            "whose task is `rerank`."
        ),
        body=RerankRequest,
        takes_key=True,
        answer=RerankAnswer,
        requests={
            "two documents": {
                "model": "bge-reranker",
                "query": "What is the capital of Norway?",
                "documents": _DOCUMENTS,
                "top_n": 1,
            }
        },
    ),
    Operation(
        paths=("/v1/score", "/score"),
        tag="score",
        build=partial(Scores, adapter=SCORE),
        summary="Score",
        description="Scores of pairs of texts, in vLLM's form. For models whose task is `rerank`.",
        body=ScoreRequest,
        takes_key=True,
        answer=ScoreAnswer,
        requests={
            "one to many": {
                "model": "bge-reranker",
                "text_1": "What is the capital of Norway?",
                "text_2": _DOCUMENTS,
            }
        },
    ),
)
