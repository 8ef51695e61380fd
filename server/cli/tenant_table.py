"""The site, owners and members as people read them: one as fields, many as rows."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import typer

from server.accounts.allowance_wire import AllowanceOut
from server.accounts.use_wire import UsedOut
from server.cli.tables import show_fields


def show_level(level: AllowanceOut, as_json: bool) -> None:
    if as_json:
        typer.echo(level.model_dump_json(indent=2))
        return
    show_fields([(name.replace("_", " "), cell(name, level, value)) for name, value in level])


def summary(level: AllowanceOut, names: Iterable[str]) -> list[str]:
    return [cell(name, level, getattr(level, name)) for name in names]


def cell(name: str, level: AllowanceOut, value: Any) -> str:
    if name == "models":
        return "all" if value is None else ", ".join(value)
    if name == "budget" and level.budget:
        unit = level.currency if level.budget.kind == "money" else "tokens"
        return f"{level.budget.amount:f} {unit}/{level.budget.period}"
    if isinstance(value, UsedOut):
        return used_text(level, value)
    if name == "price_factor" and value is not None:
        return f"{value:f}"
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)


def used_text(level: AllowanceOut, used: UsedOut) -> str:
    """`12.500000 of 500 NOK; left 487.500000 until 2026-12-01`"""
    until = "in total" if used.ends_at is None else f"until {used.ends_at:%Y-%m-%d}"
    if level.budget is None or used.spent is None:
        money = "".join(f", {amount} {currency}" for currency, amount in used.money.items())
        return f"{used.requests:,} requests, {used.tokens:,} tokens{money} {until}"
    unit = level.currency if level.budget.kind == "money" else "tokens"
    held = f", {used.reserved:f} reserved" if used.reserved else ""
    spent = f"{used.spent:f} of {level.budget.amount:f} {unit}{held}"
    return f"{spent}; left {used.left:f} {until}"
