"""The endpoints of rerank and score: one way of reading pairs, two forms."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from engines.base import Engine, InvalidRequest, PairOptions, Score, TextPair
from engines.registry.spec import ModelSpec, Task
from server.accounts.limits import Admission
from server.api.embedding_truncation import truncation_of
from server.api.fields import Refused, refuse
from server.api.input_places import placed
from server.api.pooling import PoolingEndpoint, meter, used
from server.api.rerank import fields
from server.api.rerank.answers import rerank_body, score_body
from server.api.rerank.pairs import AskedPairs, reranked, scored
from server.api.rerank.wire import PairFields, RerankRequest, ScoreRequest
from server.api.rerank.wire_answers import ApiVersion
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.requests.sent_fields import SentFields
from server.requests.single import SingleRun

W = TypeVar("W", bound=PairFields)
_TEMPLATE_TOKENS = 1024
"""More than any model's prompt has around a pair, as a reserve."""
_WITH_QUERY = " with its query"


class PairEndpoint(PoolingEndpoint[W]):
    """Subclasses make pairs of a body, and a body of scores."""

    task: Task = "rerank"
    phase = "score"
    refused: ClassVar[Mapping[str, Refused]]

    def pairs(self, wire: W) -> AskedPairs:
        """Raises ApiError 400."""
        raise NotImplementedError

    def said(self, exchange: Exchange, wire: W, scores: Sequence[Score]) -> bytes:
        """The answer's body; on a worker thread."""
        raise NotImplementedError

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: W,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> SingleRun:
        refuse(wire.model_extra, self.refused)
        asked, options = self.pairs(wire), _options(wire, spec)
        salt = self.services.prefix_salts.of(spec, record.owner)

        async def work(engine: Engine) -> bytes:
            try:
                scores = await engine.score(record.record_id, asked.pairs, options, salt)
            except InvalidRequest as refusal:
                raise placed(refusal, asked.place, _WITH_QUERY) from refusal
            meter(record, used(scores))
            return await self.services.long_bodies(self.said, exchange, wire, scores)

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
            wire_names={"query": asked.query_field},
            most_tokens=_most_tokens(asked.pairs, options, spec),
        )


class Rerank(PairEndpoint[RerankRequest]):
    """Each document's relevance, the most relevant first."""

    operation = "rerank"
    refused = fields.RERANK

    def pairs(self, wire: RerankRequest) -> AskedPairs:
        return reranked(wire)

    def said(self, exchange: Exchange, wire: RerankRequest, scores: Sequence[Score]) -> bytes:
        is_second = exchange.scope["path"].startswith("/v2/")
        version: ApiVersion = {"version": "2" if is_second else "1"}
        return rerank_body(wire, exchange.request_id, version, scores)


class Scores(PairEndpoint[ScoreRequest]):
    """Each pair's score, in their order."""

    operation = "score"
    refused = fields.SCORE

    def pairs(self, wire: ScoreRequest) -> AskedPairs:
        return scored(wire)

    def said(self, exchange: Exchange, wire: ScoreRequest, scores: Sequence[Score]) -> bytes:
        return score_body(wire, exchange.request_id, scores)


def _options(wire: PairFields, spec: ModelSpec) -> PairOptions:
    """Raises ApiError 400."""
    return PairOptions(
        most_document_tokens=wire.max_tokens_per_doc or None,
        truncation=truncation_of(wire, spec),
        context_tokens=spec.context_tokens,
        instruction=wire.instruction,
    )


def _most_tokens(pairs: Sequence[TextPair], options: PairOptions, spec: ModelSpec) -> int:
    """Of all together: no token is shorter than a byte."""
    around = len((options.instruction or "").encode()) + _TEMPLATE_TOKENS
    queries = {query: len(query.encode()) + around for query in {pair.query for pair in pairs}}
    each = (queries[pair.query] + len(pair.document.encode()) for pair in pairs)
    return sum(min(tokens, spec.context_tokens) for tokens in each)
