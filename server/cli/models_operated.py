"""The models of a running server as its operator sees them: a table of 80 columns, or JSON."""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from engines.registry.durations import duration_text
from server.cli.operator_client import state_of
from server.cli.tables import Column, show_table

_TOOK = Column("took", is_number=True)
COLUMNS = (
    Column("alias"),
    Column("state"),
    Column("memory", is_number=True),
    _TOOK,
    Column("cards"),
    Column("runs", is_number=True),
    Column("waits", is_number=True),
    Column("last use", is_number=True),
    Column("keep"),
    Column("weights", is_long=True),
)


def show_operated(title: str, models: Sequence[dict[str, Any]], as_json: bool) -> None:
    """`models`: of /admin/v1/models."""
    if as_json:
        typer.echo(json.dumps(models, indent=2))
        return
    typer.echo(f"{title}\n")
    is_measured = any(model.get("measured_bytes") is not None for model in models)
    columns = [each for each in COLUMNS if is_measured or each is not _TOOK]
    show_table(columns, [_cells(model, time.time(), is_measured) for model in models])


def _cells(model: dict[str, Any], now: float, is_measured: bool) -> list[str]:
    memory, where = _memory(model)
    measured = model.get("measured_bytes")
    took = ["" if measured is None else _gigabytes(measured)] if is_measured else []
    return [
        model["alias"],
        _state(model),
        memory,
        *took,
        where,
        str(model["requests"]),
        str(model["waiting"]),
        _ago(model["last_used"], now),
        model["keep"] or "",
        model["weights"],
    ]


def _state(model: dict[str, Any]) -> str:
    if model["state"] == "fetching" and model["percent"] is not None:
        return f"fetching {model['percent']}%"
    if model["replicas"] > 1 and model["ready_replicas"]:
        return f"{model['ready_replicas']}/{model['replicas']} {state_of(model)}"
    return state_of(model)


def _memory(model: dict[str, Any]) -> tuple[str, str]:
    """How much, and where: of one that sleeps its weights in the machine's memory."""
    if model["state"] == "sleeping":
        kept = model["asleep_bytes"]
        return _gigabytes(kept), "host" if kept else ""
    where = _ranges(model["cards"]) or ("host" if model["is_on_host"] else "")
    return _gigabytes(model["planned_bytes"]), where


def _gigabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e9:.1f} GB"


def _ranges(cards: Iterable[int]) -> str:
    """[0, 1, 2, 5] -> 0-2,5"""
    found: list[list[int]] = []
    for card in sorted(cards):
        if found and found[-1][-1] == card - 1:
            found[-1].append(card)
        else:
            found.append([card])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in found)


def _ago(at: float | None, now: float) -> str:
    """In its largest whole unit."""
    if at is None:
        return ""
    seconds = max(0, int(now - at))
    unit_s = next((each for each in (86_400, 3600, 60) if seconds >= each), 1)
    return duration_text(float(seconds // unit_s * unit_s)) if seconds else "now"
