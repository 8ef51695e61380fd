"""What a form offers to choose from; what the person may not see is not offered."""

from typing import Any

from engines.registry.currency import CURRENCIES
from server.console.admin_client import AdminRefusal
from server.console.routes import Visit

MOST: int = 200
"""Offered names; any other can be typed."""
CURRENCY_OPTIONS = [(currency, currency) for currency in CURRENCIES]


async def owner_names(visit: Visit) -> list[str]:
    found = await _seen(visit, "/owners", limit=MOST, state="active")
    return [owner["name"] for owner in found]


async def member_names(visit: Visit, owner: str | None = None) -> list[str]:
    found = await _seen(visit, "/members", limit=MOST, state="active", owner=owner)
    return sorted({member["name"] for member in found})


async def aliases(visit: Visit) -> list[str]:
    try:
        found = await visit.admin.get("/models")
    except AdminRefusal:
        return []
    return [model["alias"] for model in found["models"][:MOST]]


async def _seen(visit: Visit, path: str, **asked: Any) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = await visit.admin.get(path, asked)
    except AdminRefusal:
        return []
    return found
