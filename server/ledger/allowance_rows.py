"""Allowance <-> the columns that every level's table has of it."""

import json
from collections.abc import Mapping
from typing import Any

from server.ledger.allowance import Allowance, Budget
from server.ledger.records import KeyLimits

AS_IT_IS = ("currency", "price_factor", "content", "content_until")
ALLOWANCE_COLUMNS = (
    *KeyLimits.__slots__,
    *AS_IT_IS,
    "models",
    "budget_kind",
    "budget_amount",
    "budget_period",
)


def allowance_row(allowance: Allowance) -> dict[str, Any]:
    """By column, all of ALLOWANCE_COLUMNS."""
    budget, models = allowance.budget, allowance.models
    return {
        **{name: getattr(allowance.limits, name) for name in KeyLimits.__slots__},
        **{name: getattr(allowance, name) for name in AS_IT_IS},
        "models": None if models is None else json.dumps(sorted(models)),
        "budget_kind": budget and budget.kind,
        "budget_amount": budget and budget.amount,
        "budget_period": budget and budget.period,
    }


def allowance_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an Allowance."""
    models, kind = row["models"], row["budget_kind"]
    return {
        **{name: row[name] for name in AS_IT_IS},
        "limits": KeyLimits(
            requests_per_minute=row["requests_per_minute"],
            burst=row["burst"],
            concurrent=row["concurrent"],
            tokens_per_minute=row["tokens_per_minute"],
        ),
        "models": None if models is None else frozenset(json.loads(models)),
        "budget": kind
        and Budget(kind=kind, amount=row["budget_amount"], period=row["budget_period"]),
    }


def upsert(table: str, columns: tuple[str, ...]) -> str:
    """The first of `columns` is the primary key."""
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({columns[0]}) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    )
