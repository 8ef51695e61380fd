"""Machines that have joined a server, in a terminal."""

from collections.abc import Sequence
from typing import Any, Final

import typer

from engines.registry.durations import duration_text
from server.cli.tables import Column, show_table

COLUMNS: Final = (
    Column("joined"),
    Column("state"),
    Column("up", is_number=True),
    Column("cards", is_long=True),
    Column("runs", is_long=True),
    Column("versions", is_long=True),
    Column("address", is_long=True),
)


def show_joined(found: Sequence[dict[str, Any]]) -> None:
    """Beneath the servers; nothing where there are none."""
    if found:
        typer.echo()
        show_table(COLUMNS, [_row(each) for each in found])


def _row(node: dict[str, Any]) -> list[str]:
    is_there = node["state"] != "lost"
    return [
        node["name"],
        node["state"],
        age_text(node["for_s"]) if is_there else "",
        _cards(node["cards"]),
        ", ".join([_part(each) for each in node["parts"]] + list(filter(None, [node["doing"]]))),
        f"Fjord {node['fjord']}, vLLM {node['vllm']}, torch {node['torch']}, "
        f"driver {node['driver']}",
        node["address"],
    ]


def _cards(cards: Sequence[dict[str, Any]]) -> str:
    names = [f"{card['name']} {card['total_bytes'] / 2**30:.0f} GB" for card in cards]
    counted = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    free = [card["free_bytes"] for card in cards if card["free_bytes"] is not None]
    return counted + (f", {sum(free) / 2**30:.0f} GB free" if free else "")


def _part(part: dict[str, Any]) -> str:
    return str(part["engine"]) + ("" if part["state"] == "running" else f" {part['state']}")


def age_text(seconds: float) -> str:
    """In its largest whole unit."""
    unit_s = next((each for each in (86_400, 3600, 60) if seconds >= each), 1)
    return duration_text(float(max(1, int(seconds)) // unit_s * unit_s))
