"""What embeddings, rerank and score have in common: one run without deltas, counted and traced."""

from collections.abc import Sequence
from typing import ClassVar, Generic, NotRequired, TypeVar

from typing_extensions import TypedDict

from engines.base import Embedding, Score, Usage
from server.api.chat.wire import Asked
from server.api.chat.wire_answers import PromptDetails
from server.api.endpoint import ModelEndpoint
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.ledger.records import UsageRecord
from server.requests.single import SingleRun
from server.requests.traced import traced_single
from server.tracing.facts import Phase

A = TypeVar("A", bound=Asked)


class InputUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int
    prompt_tokens_details: NotRequired[PromptDetails]


def used(made: Sequence[Embedding] | Sequence[Score]) -> Usage:
    """What was read for all of these."""
    return Usage(
        prompt_tokens=sum(each.prompt_tokens for each in made),
        cached_tokens=sum(each.cached_tokens for each in made),
    )


def input_usage(usage: Usage) -> InputUsage:
    """The usage member of what generates nothing; details only where they say something."""
    tokens = usage.prompt_tokens
    body: InputUsage = {"prompt_tokens": tokens, "total_tokens": tokens}
    if usage.cached_tokens:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return body


def meter(record: UsageRecord, usage: Usage) -> None:
    record.prompt_tokens, record.cached_tokens = usage.prompt_tokens, usage.cached_tokens


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
            line.record, line.work = record, traced_single(job, self.operation, self.phase)
            line.note(model=record.alias, prompt_tokens=record.prompt_tokens, end=record.end)
        return record.prompt_tokens
