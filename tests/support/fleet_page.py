"""The table of docs/fleet.md: the shipped registry's models on usual nodes.

`python -m tests.support.fleet_page` writes it.
"""

from pathlib import Path

from engines.planning.cards import parse_cards
from engines.planning.machine import Machine
from engines.planning.plan import FleetPlan, Placed, plan
from engines.registry.registry import load_registry
from server.cli.registry_facts import asked_of
from tests.support.paths import ROOT
from tests.support.registries import SHIPPED

PAGE = ROOT / "docs/fleet.md"
NODES = ("1x24", "2x24", "1x80", "4x80", "8x80", "8x141", "8x180")
BEGIN, END = "<!-- the table of tests/support/fleet_page.py -->", "<!-- its end -->"


def plan_on(node: str, profile: str = "cuda") -> FleetPlan:
    models = load_registry(SHIPPED, profile).models.values()
    asked = asked_of(models, Path("nowhere"), may_ask_hub=False)
    return plan(asked, Machine(cards=parse_cards(node)))


def table() -> str:
    plans = [plan_on(node) for node in NODES]
    heads = ["alias", "KV bytes a token", *(node.replace("x", " × ") for node in NODES)]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in zip(*(each.engines for each in plans), strict=True):
        lines.append(_line([_name(row[0]), _kv(row[0]), *map(_cell, row)]))
    lines.append(_line(["**turns**", "", *(str(each.turns) for each in plans)]))
    lines += ["", *_helps(plans)]
    return "\n".join(lines)


def page() -> str:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(placed: Placed) -> str:
    return f"`{placed.asked.aliases[0]}`"


def _kv(placed: Placed) -> str:
    assert placed.asked.facts is not None
    return f"{placed.asked.facts.token_bytes(2):,}"


def _cell(placed: Placed) -> str:
    if placed.verdict == "never":
        return "–"
    return f"{placed.turn}: {placed.streams}"


def _helps(plans: list[FleetPlan]) -> list[str]:
    """What would fit where the registry's entry does not."""
    lines = ["| on | instead |", "|---|---|"]
    for node, each in zip(NODES, plans, strict=True):
        helped = [
            f"`{placed.asked.aliases[0]}`: {remedy.text}"
            for placed in each.never
            for remedy in placed.remedies[:1]
            if remedy.kind != "cards"
        ]
        if helped:
            lines.append(_line([node.replace("x", " × "), "; ".join(helped)]))
    return lines


if __name__ == "__main__":
    PAGE.write_text(page())
