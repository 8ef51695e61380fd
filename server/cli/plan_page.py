"""A plan on one screen of 80 columns: what fits, a bar a card, and what would help the rest."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

import typer

from engines.fleet.planned_sleep import SleepPlan
from engines.planning.cards import shown_cards
from engines.planning.demands import capacity
from engines.planning.packing import Demand
from engines.planning.plan import FleetPlan, Placed
from server.cli.plan_sleep import sleep_paragraphs
from server.cli.tables import Column, show_table

COLUMNS = 80
BAR = 20
FULL, EMPTY = "█", "░"
MOST_BARS = 16
_TABLE = (
    Column("model"),
    Column("cards", is_number=True),
    Column("weights GB", is_number=True),
    Column("KV KiB/token", is_number=True),
    Column("context", is_number=True),
    Column("streams", is_number=True),
    Column("fits"),
)


def show_plan(found: SleepPlan, profile: str, others: Sequence[str]) -> None:
    """`others`: profiles that fit these cards whole."""
    plan = found.plan
    typer.secho(f"{_title(plan, profile)}\n", bold=True)
    show_table(_TABLE, [_row(plan, each) for each in plan.engines if not each.asked.spec.replica])
    refused = (*_unknown(plan), *_short(plan), *_never(plan), *_pinned(plan))
    for line in (*_turns(plan), *_sleep(found), *refused):
        typer.echo(line)
    if plan.never and others:
        typer.echo(f"Profiles of which all fits at once: {', '.join(others)} (--profile)")


def _title(plan: FleetPlan, profile: str) -> str:
    where = shown_cards(plan.machine.cards) if plan.machine.cards else _memory(plan)
    first = [each for each in plan.engines if not each.asked.spec.replica]
    known = [each for each in first if each.verdict != "unknown"]
    never = sum(each.verdict == "never" for each in first)
    able = "nothing fits" if never == len(known) else "all at once"
    if plan.turns > 1:
        able = f"by {plan.turns} turns"
    told = f"; {never} of {len(known)} never fit" if 0 < never < len(known) else ""
    return f"Profile {profile} on {where}: {able}{told}"


def _memory(plan: FleetPlan) -> str:
    host = plan.machine.host_bytes
    return "the CPU" if host is None else f"the CPU, {host / 1e9:.0f} GB of memory"


def _row(plan: FleetPlan, placed: Placed) -> list[str]:
    """A model: its streams are those of all its replicas that have room."""
    first, *others = placed.asked.aliases
    name = f"{first} +{len(others)}" if others else first
    facts = placed.asked.facts
    if placed.fit is None or facts is None:
        return [name, "", "", "", "", "", "?"]
    need, world = placed.fit.need, placed.fit.demand.world or "–"
    there = [e for e in plan.engines if e.asked.spec.group == placed.asked.spec.group and e.turn]
    return [
        name,
        f"{len(there)}×{world}" if len(there) > 1 else str(world),
        f"{facts.stored_bytes / 1e9:.1f}",
        f"{need.model_token_bytes / 1024:.1f}",
        _tokens(need.context_tokens),
        str(sum(each.streams for each in there)) if placed.turn else "",
        _verdict(placed, len(there)),
    ]


def _verdict(placed: Placed, there: int) -> str:
    said = placed.verdict if placed.verdict != "by turns" else f"turn {placed.turn}"
    wanted = placed.asked.replicas
    return said if not placed.turn or there == wanted else f"{said}, {there} of {wanted}"


def _tokens(count: int) -> str:
    return f"{count // 1024}K" if count and count % 1024 == 0 else str(count)


def _turns(plan: FleetPlan) -> Iterator[str]:
    for turn in range(1, plan.turns + 1):
        if turn == 1:
            yield ""
        if plan.turns > 1:
            yield f"Turn {turn}"
        yield from _bars(plan, turn)


def _bars(plan: FleetPlan, turn: int) -> Iterator[str]:
    """A line a card; after the first turn, and of many cards, a line for neighbours alike."""
    placed = plan.of_turn(turn)
    cards = len(plan.machine.cards)
    lines = [_bar(plan, placed, card) for card in range(cards)]
    is_long = turn > 1 or cards > MOST_BARS
    runs = groupby(range(cards), key=lambda card: lines[card] if is_long else str(card))
    for cards_alike in (list(run) for _, run in runs):
        first, last = cards_alike[0], cards_alike[-1]
        names = str(first) if first == last else f"{first}-{last}"
        yield _cut(f"GPU {names:<5} {lines[first]}")
    in_memory = [each for each in placed if each.fit and each.fit.demand.host_bytes]
    if in_memory:
        yield _cut(_memory_line(plan, in_memory))


def _sleep(found: SleepPlan) -> Iterator[str]:
    for number, text in enumerate(sleep_paragraphs(found)):
        if number == 0:
            yield ""
        yield from _wrapped(text)


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"


def _bar(plan: FleetPlan, placed: tuple[Placed, ...], index: int) -> str:
    card = plan.machine.cards[index]
    held = [each for each in placed if index in each.cards]
    least = sum(_claim(plan, each, index) for each in held)
    names = _names(held) or "free"
    return (
        f"{bar(least, capacity(card))} {least / 1e9:5.1f} of {capacity(card) / 1e9:.0f} GB  {names}"
    )


def _names(placed: Sequence[Placed]) -> str:
    """a, b ×2: with two replicas of b."""
    counts = Counter(each.asked.aliases[0] for each in placed)
    return ", ".join(name if n == 1 else f"{name} ×{n}" for name, n in counts.items())


def _claim(plan: FleetPlan, placed: Placed, index: int) -> int:
    assert placed.fit is not None
    demand: Demand = placed.fit.demand
    kinds = list(dict.fromkeys(plan.machine.cards))
    return demand.claims[kinds.index(plan.machine.cards[index])]


def bar(part: int, whole: int) -> str:
    """What is needed at least; the rest is for more streams."""
    filled = 0 if whole <= 0 else min(BAR, -(-part * BAR // whole))
    return FULL * filled + EMPTY * (BAR - filled)


def _memory_line(plan: FleetPlan, placed: list[Placed]) -> str:
    taken = sum(each.fit.demand.host_bytes for each in placed if each.fit)
    names = _names(placed)
    host = plan.machine.host_bytes
    if host is None:
        return f"RAM       {taken / 1e9:.1f} GB  {names}"
    return f"RAM       {bar(taken, host)} {taken / 1e9:5.1f} of {host / 1e9:.0f} GB  {names}"


def _unknown(plan: FleetPlan) -> Iterator[str]:
    for each in plan.engines:
        if each.verdict == "unknown":
            yield ""
            yield from _wrapped(f"{each.asked.aliases[0]}: not known: {each.asked.unknown}")


def _short(plan: FleetPlan) -> Iterator[str]:
    """Replicas without room that would have some if others of their turn were not there."""
    yield from _refused([each for each in plan.short if each.verdict == "no room"], "Not all fit:")


def _never(plan: FleetPlan) -> Iterator[str]:
    yield from _refused(plan.never, "Never, as the registry has them:")


def _refused(placed: Sequence[Placed], title: str) -> Iterator[str]:
    if placed:
        yield ""
        yield title
    for each in placed:
        assert each.fit is not None
        yield from _wrapped(f"{each.asked.aliases[0]}: {each.fit.refusal}")
        options = [remedy.text for remedy in each.remedies]
        yield from _wrapped(f"would: {'; or '.join(options)}", "  ") if options else ()


def _pinned(plan: FleetPlan) -> Iterator[str]:
    """What no turn can mend: a pinned model makes room for no other."""
    pins = plan.pins
    if pins.clashing:
        names = ", ".join(plan.named(pins.clashing))
        yield ""
        yield from _wrapped(
            f"Pinned, and not possible together: {names}. Whichever loads first keeps others out."
        )
    if pins.kept_out:
        pinned = ", ".join(each.asked.aliases[0] for each in plan.engines if each.asked.is_pinned)
        names = ", ".join(plan.named(pins.kept_out))
        yield ""
        yield from _wrapped(f"Never while others are pinned ({pinned}): {names}")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
