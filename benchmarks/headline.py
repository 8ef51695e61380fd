"""The five lines that a stranger reads first: what, Fjord's figure, and the others'."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.servers import FJORD, RUST, VLLM

SERVERS = {
    FJORD.name: "Fjord",
    VLLM.name: "vLLM's own server",
    RUST.name: "vLLM's front in Rust",
}
LINES: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    (
        "processor time for a token, beside the model's, 64 streams",
        "64 streamed",
        "front_us_per_token",
        lambda us: f"{us:.1f} µs",
    ),
    ("tokens a second, 64 streams", "64 streamed", "tokens_per_s", lambda n: f"{n:,.0f}"),
    ("first token after, 64 streams", "64 streamed", "ttft_p50_ms", lambda ms: f"{ms:,.0f} ms"),
    ("whole answers a second, 64 at once", "64 whole", "requests_per_s", lambda n: f"{n:.1f}"),
)
"""(words, case of the tiny model, figure, how it is written); and one for the start."""


def headline(document: Mapping[str, Any]) -> list[list[str]]:
    """Rows with their head; of a result that has no figure of Fjord's, the head alone."""
    return [["on one machine, one run", *SERVERS.values()], *_rows(document)]


def _rows(document: Mapping[str, Any]) -> Iterator[list[str]]:
    medians = {(row["model"], row["case"], row["side"]): row for row in document["medians"]}
    for words, case, figure, form in LINES:
        found = [medians.get(("tiny", case, side), {}).get(figure) for side in SERVERS]
        if found[0]:
            yield [words, *_cells(found, form)]
    ready = [_ready_s(document, side) for side in SERVERS]
    if ready[0]:
        yield ["ready after the start", *_cells(ready, lambda s: f"{s:.1f} s")]


def _cells(found: list[float | None], form: Callable[[float], str]) -> Iterator[str]:
    [ours, *others] = found
    assert ours is not None
    yield form(ours)
    for theirs in others:
        yield f"{form(theirs)} ({ours / theirs:.2f} ×)" if theirs else "–"


def _ready_s(document: Mapping[str, Any], side: str) -> float | None:
    found = [
        start["ready_s"]
        for start in document.get("starts", ())
        if (start["side"], start["model"]) == (side, "tiny")
    ]
    return statistics.median(found) if found else None
