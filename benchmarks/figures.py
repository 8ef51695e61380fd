"""From what one case brought back to its figures, and medians over the rounds."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.front import Cost
from benchmarks.load import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case on one side in one round."""

    model: str
    case: str
    side: str
    round: int
    tokens_per_s: float
    requests_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    """Between one arrival and the next, whether it brings one token or several merged."""
    itl_p99_ms: float
    total_p50_ms: float
    front_us_per_token: float
    front_cpu_share: float
    """Of one core."""
    tokens_per_chunk: float
    prompt_tokens: float
    """A request, on average."""
    generator_us_per_token: float
    loop_ms: float
    """What `benchmarks.machine.loop_ms` took before and after it, on average: a shared machine
    computes at half its speed for minutes."""
    errors: int


FIGURES = tuple(
    name
    for name in Measured.__dataclass_fields__
    if name not in ("model", "case", "side", "round", "errors")
)


PROCESSOR_TIMES = ("front_us_per_token", "generator_us_per_token")


def measured(
    outcome: Outcome,
    before: Cost,
    after: Cost,
    *,
    model: str,
    case: str,
    side: str,
    number: int,
    loop_ms: float = 1.0,
) -> Measured:
    """The figures of one run, as they were."""
    tokens, wall_s = max(1, outcome.tokens), max(1e-9, outcome.wall_s)
    requests = len(outcome.total_s)
    cpu_s = after.cpu_s - before.cpu_s
    return Measured(
        model=model,
        case=case,
        side=side,
        round=number,
        tokens_per_s=outcome.tokens / wall_s,
        requests_per_s=requests / wall_s,
        ttft_p50_ms=1000 * percentile(outcome.ttft_s, 50),
        ttft_p99_ms=1000 * percentile(outcome.ttft_s, 99),
        itl_p50_ms=1000 * percentile(outcome.gaps_s, 50),
        itl_p99_ms=1000 * percentile(outcome.gaps_s, 99),
        total_p50_ms=1000 * percentile(outcome.total_s, 50),
        front_us_per_token=1e6 * cpu_s / tokens,
        front_cpu_share=cpu_s / wall_s,
        tokens_per_chunk=outcome.tokens / outcome.chunks if outcome.chunks else 0.0,
        prompt_tokens=outcome.prompt_tokens / max(1, requests),
        generator_us_per_token=1e6 * outcome.generator_cpu_s / tokens,
        loop_ms=loop_ms,
        errors=len(outcome.errors),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Of the nearest rank; 0 for no values."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]


Medians = Mapping[tuple[str, str, str], Mapping[str, float]]
"""(model, case, side) -> figure -> median over the rounds."""


def medians(results: Iterable[Measured]) -> Medians:
    """Of every figure, in the order of the results; processor times as at one speed."""
    grouped: dict[tuple[str, str, str], list[Measured]] = {}
    for result in at_one_speed(list(results)):
        grouped.setdefault((result.model, result.case, result.side), []).append(result)
    return {
        key: {name: statistics.median(getattr(r, name) for r in rounds) for name in FIGURES}
        for key, rounds in grouped.items()
    }


def at_one_speed(results: Sequence[Measured]) -> Iterator[Measured]:
    """With the processor times that each would have had while the machine computed as it did in
    the middle of all of them. Times on the clock stay: not all of them is computing."""
    usual_ms = statistics.median([each.loop_ms for each in results] or [1.0])
    for each in results:
        even = {name: getattr(each, name) * usual_ms / each.loop_ms for name in PROCESSOR_TIMES}
        yield replace(each, **even)


def as_json(medians: Medians) -> list[dict[str, Any]]:
    """Rows fit for a file."""
    return [
        {"model": model, "case": case, "side": side, **figures}
        for (model, case, side), figures in medians.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One start of one side."""

    model: str
    side: str
    round: int
    health_s: float
    ready_s: float
    rss_bytes: int
    """Of the front, after its last case."""
    processes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
