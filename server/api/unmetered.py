"""Endpoints that ask a model for something that costs nothing and leaves no record."""

from typing import Generic, TypeVar

from engines.base import GenerateRequest
from server.api.chat.wire import Asked
from server.api.endpoint import ModelEndpoint
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.ledger.records import UsageRecord
from server.requests.sent_fields import SentFields
from server.requests.single import SingleRun, Work
from server.requests.traced import traced_single
from server.tracing.facts import Phase

A = TypeVar("A", bound=Asked)


class UnmeteredEndpoint(ModelEndpoint[A, SingleRun], Generic[A]):
    """One of them; `prepare` makes a `job` of a body."""

    is_metered = takes_key = False
    phase: Phase = "tokenize"
    """What a trace calls its work."""

    def job(
        self,
        exchange: Exchange,
        wire: A,
        record: UsageRecord,
        work: Work,
        request: GenerateRequest | None = None,
    ) -> SingleRun:
        """`work` on the model's engine, once there is one, and once the pictures of `request` are
        read."""
        return SingleRun(
            exchange,
            self.services.fleet,
            record,
            work,
            deadline=self.deadline(exchange),
            fields=SentFields(wire),
            before=self.services.pictures.read_first([request]) if request else None,
        )

    async def run(self, exchange: Exchange, job: SingleRun) -> int:
        await job.run(self.services.supervisor)
        alias = job.record.alias
        self.services.metrics.answered(alias, self.endpoint, exchange.status)
        line = line_of(exchange.scope)
        line.work = traced_single(job, self.phase, self.phase)
        line.note(model=alias, end=job.record.end)
        return 0
