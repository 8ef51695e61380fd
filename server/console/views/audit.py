"""The audit log: who changed what, whether it is whole, and all of it as a file."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from server.console.admin_client import AdminClient, AdminRefusal
from server.console.audit_changes import changes_of
from server.console.pages import HEADERS
from server.console.paging import filter_of
from server.console.routes import PageRoute, Visit

ROWS: Final = 30
_AT_ONCE: Final = 500
ACTIONS: Final = (
    *("key", "key.create", "key.update", "key.rotate", "key.revoke"),
    *("owner", "owner.create", "owner.update", "owner.forget"),
    *("member", "member.create", "member.update", "site.update"),
    *("model", "model.load", "model.unload", "model.sleep", "model.pin", "model.unpin"),
    *("registry.apply", "invoice.issue", "records.prune", "ledger.restore"),
)
"""What is offered to filter by; any other word can be typed."""


async def read_audit(visit: Visit) -> Response:
    asked = filter_of(visit.request, "action", "before")
    found, wrong = [], ""
    try:
        found = (await visit.admin.get("/audit", {**asked, "limit": ROWS + 1}))["entries"]
    except AdminRefusal as refusal:
        if refusal.status != 400:
            raise
        wrong = str(refusal)
    older = _older(found, asked["action"]) if len(found) > ROWS else None
    rows = [(entry, changes_of(entry)) for entry in found[:ROWS]]
    return visit.page(
        "audit.html", rows=rows, older=older, asked=asked, actions=ACTIONS, wrong=wrong
    )


def _older(found: list[dict[str, Any]], action: str) -> str:
    asked = {"action": action} if action else {}
    return f"/console/audit?{urlencode({**asked, 'before': found[ROWS - 1]['number']})}"


async def verify(visit: Visit) -> Response:
    head = filter_of(visit.request, "head")["head"]
    check, wrong, status = None, "", 200
    try:
        check = await visit.admin.get("/audit/verify", {"head": head})
    except AdminRefusal as refusal:
        if refusal.status != 400:
            raise
        wrong, status = str(refusal), 400
    return visit.page("audit_verify.html", status, head=head, check=check, wrong=wrong)


async def export(visit: Visit) -> Response:
    """One JSON array, in order, as `fjord audit export` has it. What is refused is so before the
    file begins."""
    first = await _behind(visit.admin, 0)
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="audit.json"'}
    lines = _lines(visit.admin, first)
    return StreamingResponse(lines, headers=headers, media_type="application/json")


async def _lines(admin: AdminClient, entries: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A few hundred entries in memory at a time."""
    before = "[\n"
    while entries:
        for entry in entries:
            yield before + json.dumps(entry, ensure_ascii=False)
            before = ",\n"
        entries = await _behind(admin, entries[-1]["number"])
    yield "[]\n" if before == "[\n" else "\n]\n"


async def _behind(admin: AdminClient, number: int) -> list[dict[str, Any]]:
    page = await admin.get("/audit", {"after": number, "limit": _AT_ONCE})
    return list(page["entries"])


ROUTES = (
    PageRoute("/audit", read_audit),
    PageRoute("/audit/verify", verify),
    PageRoute("/audit/export", export),
)
