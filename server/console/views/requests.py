"""The last requests of this server, and what one's time went into."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.paging import filter_of, number_of
from server.console.request_bars import WIDE, bars_of
from server.console.routes import PageRoute, Visit
from server.console.shown import place
from server.console.views.choices import aliases, owner_names

ROWS: Final = 50
_KEPT: Final = 2000


async def list_requests(visit: Visit) -> Response:
    asked = filter_of(visit.request, "owner", "key_id", "alias", "status", "failed")
    asked["failed"] = "true" if asked["failed"] else ""
    number = min(number_of(visit.request), _KEPT // ROWS)
    window = {"limit": ROWS + 1, "offset": (number - 1) * ROWS}
    found, wrong = [], ""
    try:
        found = (await visit.admin.get("/requests", {**asked, **window}))["requests"]
    except AdminRefusal as refusal:
        if refusal.status not in (400, 404):
            raise
        wrong = str(refusal)
    return visit.page(
        "requests.html",
        rows=found[:ROWS],
        asked=asked,
        wrong=wrong,
        newer=_at(asked, number - 1) if number > 1 else None,
        older=_at(asked, number + 1) if len(found) > ROWS else None,
        owners=await owner_names(visit),
        models=await aliases(visit),
    )


async def show_request(visit: Visit) -> Response:
    path = f"/requests/{place(visit.request.path_params['request_id'])}"
    found: dict[str, Any] = await visit.admin.get(path)
    bars = bars_of(found["phases"])
    worked_ms = sum(phase["lasts_ms"] for phase in found["phases"])
    beside_ms = max(found["duration_ms"] - worked_ms, 0.0)
    return visit.page("request.html", asked=found, bars=bars, wide=WIDE, beside_ms=beside_ms)


def _at(asked: dict[str, str], number: int) -> str:
    given = {name: value for name, value in asked.items() if value}
    return f"/console/requests?{urlencode({**given, 'page': number})}"


ROUTES = (
    PageRoute("/requests", list_requests),
    PageRoute("/requests/{request_id}", show_request),
)
