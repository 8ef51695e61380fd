"""The figures that must be reached, each a ratio of Fjord to another server, or an absolute."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from benchmarks.cases import cases_of
from benchmarks.figures import Medians, Started
from benchmarks.servers import FJORD, FJORD_PER_TOKEN, RUST, RUST_EVEN, VLLM


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`figure` of Fjord over another side's, at most or at least `bound`."""

    label: str
    model: str
    case: str
    figure: str
    bound: float
    at_most: bool = True
    side: str = FJORD.name
    against: str = VLLM.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A target and what was measured for it."""

    label: str
    against: str
    """The other side's name; "–" where there is none."""
    bound: str
    fjord: float
    other: float | None
    ratio: float | None
    reached: bool


def _cpu(
    streams: int,
    bound: float,
    side: str = FJORD.name,
    model: str = "tiny",
    against: str = VLLM.name,
) -> Target:
    return Target(
        label=f"front CPU µs a token, {streams} streams, {FORMS[side]}",
        model=model,
        case=f"{streams} streamed",
        figure="front_us_per_token",
        bound=bound,
        side=side,
        against=against,
    )


def _tiny(
    label: str,
    case: str,
    figure: str,
    bound: float,
    *,
    at_most: bool,
    against: str = VLLM.name,
    side: str = FJORD.name,
) -> Target:
    return Target(
        label=label,
        model="tiny",
        case=case,
        figure=figure,
        bound=bound,
        at_most=at_most,
        side=side,
        against=against,
    )


def _against_rust() -> Iterator[Target]:
    """Costs and times as both are shipped; what is done in a second with the same threads."""
    yield from (_cpu(streams, 0.25, against=RUST.name) for streams in CROWDS)
    yield from (_cpu(n, 0.8, FJORD_PER_TOKEN.name, against=RUST.name) for n in CROWDS)
    yield _cpu(1, 1.0, against=RUST.name)
    for side, form in FORMS.items():
        for streams, (name, figure) in product(CROWDS, _TIMES.items()):
            label, case = f"{name}, {streams} streams, {form}", f"{streams} streamed"
            yield _tiny(label, case, figure, 1.0, at_most=True, against=RUST.name, side=side)
    label = "whole answers, requests/s, 64 in flight"
    yield _tiny(label, "64 whole", "requests_per_s", 1.0, at_most=False, against=RUST.name)
    yield from _rates_against_rust()


def _rates_against_rust() -> Iterator[Target]:
    """Everywhere: in each case of both models that both sides have."""
    yield from (_rate("tiny", case.name) for case in cases_of("tiny"))
    yield from (_rate("tiny", f"{n} streamed", FJORD_PER_TOKEN.name) for n in CROWDS)
    yield from (_rate("smollm2", case.name) for case in cases_of("smollm2"))


def _rate(model: str, case: str, side: str = FJORD.name) -> Target:
    return Target(
        label=f"{model} tokens/s, {case}, {FORMS[side]}, the same threads",
        model=model,
        case=case,
        figure="tokens_per_s",
        bound=1.0,
        at_most=False,
        side=side,
        against=RUST_EVEN.name,
    )


CROWDS = (64, 256, 512)
FORMS = {FJORD.name: "as shipped", FJORD_PER_TOKEN.name: "a token a chunk"}
_TIMES = {"TTFT p50": "ttft_p50_ms", "TTFT p99": "ttft_p99_ms", "ITL p99": "itl_p99_ms"}


def _smollm2(case: str) -> Target:
    return Target(
        label=f"SmolLM2 tokens/s, {case}",
        model="smollm2",
        case=case,
        figure="tokens_per_s",
        bound=1.0,
        at_most=False,
    )


TARGETS = (
    _cpu(64, 0.28),
    _cpu(256, 0.22),
    _cpu(512, 0.22),
    _cpu(64, 0.40, FJORD_PER_TOKEN.name),
    _cpu(256, 0.33, FJORD_PER_TOKEN.name, "deep"),
    _tiny("streamed tokens/s, 64 streams", "64 streamed", "tokens_per_s", 1.15, at_most=False),
    _tiny("streamed tokens/s, 256 streams", "256 streamed", "tokens_per_s", 1.25, at_most=False),
    _tiny("TTFT p50, 64 streams", "64 streamed", "ttft_p50_ms", 0.95, at_most=True),
    _tiny("TTFT p50, 256 streams", "256 streamed", "ttft_p50_ms", 0.85, at_most=True),
    _tiny(
        "whole answers, requests/s, 64 in flight", "64 whole", "requests_per_s", 1.3, at_most=False
    ),
    _smollm2("1 streamed"),
    _smollm2("32 streamed"),
    *_against_rust(),
)
MEMORY_BOUND = 1.1
HEALTH_S = 3.0


def verdicts(medians: Medians, starts: Sequence[Started]) -> list[Verdict]:
    """Of every target whose case was run on both sides, then of the starts."""
    found = [verdict for target in TARGETS if (verdict := _verdict(target, medians))]
    return found + _start_verdicts(starts)


def _verdict(target: Target, medians: Medians) -> Verdict | None:
    ours = medians.get((target.model, target.case, target.side))
    theirs = medians.get((target.model, target.case, target.against))
    if ours is None or theirs is None or not theirs[target.figure]:
        return None
    ratio = ours[target.figure] / theirs[target.figure]
    return Verdict(
        label=target.label,
        against=target.against,
        bound=f"{'≤' if target.at_most else '≥'} {target.bound:g} ×",
        fjord=ours[target.figure],
        other=theirs[target.figure],
        ratio=ratio,
        reached=ratio <= target.bound if target.at_most else ratio >= target.bound,
    )


def _start_verdicts(starts: Sequence[Started]) -> list[Verdict]:
    ours = [start for start in starts if start.side == FJORD.name]
    theirs = [start for start in starts if start.side == VLLM.name]
    if not ours or not theirs:
        return []
    ready = [statistics.median(s.ready_s for s in side) for side in (ours, theirs)]
    health = statistics.median(s.health_s for s in ours)
    return [
        *_memory(ours, theirs),
        Verdict(
            label="/health after start, s",
            against=VLLM.name,
            bound=f"≤ {HEALTH_S:g} s",
            fjord=health,
            other=statistics.median(s.health_s for s in theirs),
            ratio=None,
            reached=health <= HEALTH_S,
        ),
        _ratio("ready after start, s", "≤ 1 ×", ready, 1.0),
    ]


def _memory(ours: Sequence[Started], theirs: Sequence[Started]) -> list[Verdict]:
    """Of the model that does worst: a large vocabulary costs more."""
    found = []
    for model in {start.model for start in ours} & {start.model for start in theirs}:
        pair = [
            statistics.median([s.rss_bytes / 2**20 for s in side if s.model == model])
            for side in (ours, theirs)
        ]
        label, bound = f"front memory, MiB, {model}", f"≤ {MEMORY_BOUND:g} ×"
        found.append(_ratio(label, bound, pair, MEMORY_BOUND))
    return sorted(found, key=lambda verdict: verdict.ratio or 0.0)[-1:]


def _ratio(label: str, bound: str, pair: list[float], limit: float) -> Verdict:
    ratio = pair[0] / pair[1]
    return Verdict(
        label=label,
        against=VLLM.name,
        bound=bound,
        fjord=pair[0],
        other=pair[1],
        ratio=ratio,
        reached=ratio <= limit,
    )
