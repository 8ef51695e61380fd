"""What a trace says of a run that has ended: times, tokens and end, nothing of its content."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from engines.base import GenerateRequest
from server.ledger.records import UsageRecord
from server.requests.answer import GenerationRun
from server.requests.single import SingleRun
from server.requests.times import Times
from server.tracing.facts import Phase, TracedWork

PhasesBegun: TypeAlias = Sequence[tuple[Phase, float | None]]
"""Each with its end; None: it has none yet, and those behind it were not begun."""


def traced_generation(run: GenerationRun) -> TracedWork:
    record, times, plan = run.call.record, run.times, run.call.plan
    return generation_work(
        *(record, times, plan.requests[0]),
        phases=_generation(times, first_token_at(record, times)),
        settled=times.settled,
        choices=plan.sequences,
        has_max_tokens=plan.has_max_tokens,
    )


def first_token_at(record: UsageRecord, times: Times) -> float | None:
    return None if record.ttft_s is None else times.began + record.ttft_s


def generation_work(
    record: UsageRecord,
    times: Times,
    request: GenerateRequest,
    *,
    phases: PhasesBegun,
    settled: float | None,
    choices: int,
    has_max_tokens: bool,
) -> TracedWork:
    sampling = request.sampling
    between = record.completion_tokens - 1
    after_first_s = None if record.ttft_s is None else record.duration_s - record.ttft_s
    return TracedWork(
        operation=_operation(request),
        alias=record.alias,
        began=times.began,
        phases=_phases(times.began, record.duration_s, settled, phases),
        end=record.end,
        is_stream=record.stream,
        choices=choices,
        max_tokens=sampling.max_tokens if has_max_tokens else None,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        finish_reason=record.finish_reason,
        prompt_tokens=record.prompt_tokens,
        cached_tokens=record.cached_tokens,
        completion_tokens=record.completion_tokens,
        reasoning_tokens=record.reasoning_tokens,
        ttft_s=record.ttft_s,
        per_token_s=after_first_s / between if after_first_s is not None and between > 0 else None,
    )


def _operation(request: GenerateRequest) -> str:
    if request.speech is not None:
        return "transcription"
    return "text_completion" if request.messages is None else "chat"


def traced_single(run: SingleRun, operation: str, phase: Phase) -> TracedWork:
    """`phase`: what its work is called."""
    record, times = run.record, run.times
    settled = None if run.ledger is None else times.settled
    return TracedWork(
        operation=operation,
        alias=record.alias,
        began=times.began,
        phases=_phases(times.began, record.duration_s, settled, [*waits(times), (phase, None)]),
        end=record.end,
        prompt_tokens=record.prompt_tokens,
        cached_tokens=record.cached_tokens,
    )


def _generation(times: Times, first_token: float | None) -> PhasesBegun:
    queue, *turn = waits(times)
    return [
        queue,
        ("prompt", times.prepared or times.generating),
        *turn,
        ("prefill", first_token),
        ("decode", None),
    ]


def waits(times: Times) -> PhasesBegun:
    if times.prepared is None:
        return [("queue", times.leased)]
    return [("queue", times.leased), ("turn", times.generating)]


def _phases(
    began: float,
    duration_s: float,
    settled: float | None,
    parts: PhasesBegun,
) -> tuple[tuple[Phase, float], ...]:
    """Those that were begun, each with its end; the last one ended with the work."""
    return tuple(_ended(began + duration_s, settled, parts))


def _ended(
    work_ended: float, settled: float | None, parts: PhasesBegun
) -> Iterator[tuple[Phase, float]]:
    for phase, until in parts:
        yield phase, work_ended if until is None else until
        if until is None:
            break
    if settled is not None:
        yield "settle", settled
