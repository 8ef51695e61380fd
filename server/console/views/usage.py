"""What was used and what it costs: by day, owner, model, key, agent; as a plot, a table, a file."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.pages import HEADERS
from server.console.paging import ROWS, ListPage, filter_of, number_of
from server.console.routes import PageRoute, Visit
from server.console.usage_plot import plot_of, sums_of
from server.console.views.choices import aliases, owner_names

NAMES: Final = ("first", "last", "by", "owner", "key_id", "alias")
GROUPS: Final = {
    "day": "day",
    "month": "month",
    "owner": "owner",
    "member": "member",
    "alias": "model",
    "key": "key",
    "agent_id": "agent",
}
_OF_TIME: Final = ("day", "month")


async def show_usage(visit: Visit) -> Response:
    asked = filter_of(visit.request, *NAMES)
    asked["by"] = asked["by"] or "day"
    wrong, report, days = "", None, None
    try:
        report = await visit.admin.get("/usage", asked)
        is_by_day = asked["by"] == "day"
        days = report if is_by_day else await visit.admin.get("/usage", {**asked, "by": "day"})
    except AdminRefusal as refusal:
        if refusal.status not in (400, 404):
            raise
        wrong = str(refusal)
    lines = _ordered(report["lines"], asked["by"]) if report else []
    return visit.page(
        "usage.html",
        list=_part(visit, asked, lines),
        sums=sums_of(lines),
        names=report["names"] if report else {},
        asked=asked if report is None else {**asked, **_period(report)},
        groups=GROUPS,
        query=urlencode({name: text for name, text in asked.items() if text}),
        plot=None if days is None else plot_of(days),
        wrong=wrong,
        owners=await owner_names(visit),
        models=await aliases(visit),
    )


async def usage_file(visit: Visit) -> Response:
    """The lines as the admin API writes them: CSV or Parquet."""
    asked = filter_of(visit.request, *NAMES, "format")
    answer = await visit.admin.send("GET", "/usage", params=asked)
    kept = ("content-type", "content-disposition")
    told = {name: answer.headers[name] for name in kept if name in answer.headers}
    return Response(answer.content, headers={**HEADERS, **told})


def _period(report: Mapping[str, Any]) -> dict[str, str]:
    return {"first": report["first"], "last": report["last"]}


def _ordered(lines: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """The latest first, or what costs most."""
    if by in _OF_TIME:
        return lines[::-1]
    return sorted(lines, key=lambda line: (-Decimal(line["amount"]), -line["requests"]))


def _part(visit: Visit, asked: Mapping[str, str], lines: list[dict[str, Any]]) -> ListPage:
    number = number_of(visit.request)
    return ListPage(
        path=visit.request.url.path,
        asked=asked,
        number=number,
        rows=lines[(number - 1) * ROWS : number * ROWS],
        total=len(lines),
    )


ROUTES = (PageRoute("/usage", show_usage), PageRoute("/usage/file", usage_file))
