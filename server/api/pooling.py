"""What embeddings, rerank and score have in common: one run without deltas, counted and traced."""

from typing import ClassVar, Generic, TypeVar

from server.api.chat.wire import Asked
from server.api.endpoint import ModelEndpoint
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.requests.single import SingleRun
from server.requests.traced import traced_single
from server.tracing.facts import Phase

A = TypeVar("A", bound=Asked)


class PoolingEndpoint(ModelEndpoint[A, SingleRun], Generic[A]):
    """Subclasses say what the job is."""

    operation: ClassVar[str]
    """Its name in a trace."""
    phase: ClassVar[Phase]

    async def run(self, exchange: Exchange, job: SingleRun) -> int:
        services, record = self.services, job.record
        try:
            await job.run(services.supervisor)
        finally:
            services.metrics.finished(record, exchange.status, job.times.wait_s)
            line = line_of(exchange.scope)
            if services.traces is not None:
                line.work = traced_single(job, self.operation, self.phase)
            line.note(model=record.alias, prompt_tokens=record.prompt_tokens, end=record.end)
        return record.prompt_tokens
