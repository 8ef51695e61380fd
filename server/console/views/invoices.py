"""Invoices: those that were issued, a month's as they would be, and their issue."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.forms.form import Form, read_form
from server.console.pages import HEADERS
from server.console.paging import filter_of
from server.console.routes import PageRoute, Visit
from server.console.shown import place
from server.console.views.choices import owner_names

ROWS: Final = 50
PAGE: Final = "/console/usage/invoices"


async def list_invoices(visit: Visit) -> Response:
    asked = filter_of(visit.request, "owner", "before")
    found, wrong = [], ""
    try:
        found = await visit.admin.get("/invoices", {**asked, "limit": ROWS + 1})
    except AdminRefusal as refusal:
        if refusal.status not in (400, 404):
            raise
        wrong = str(refusal)
    return visit.page(
        "invoices.html",
        rows=found[:ROWS],
        older=_older(found, asked["owner"]) if len(found) > ROWS else None,
        asked=asked,
        wrong=wrong,
        month=_last_month(),
        owners=await owner_names(visit),
    )


def _older(found: list[dict[str, Any]], owner: str) -> str:
    asked = {"owner": owner} if owner else {}
    return f"{PAGE}?{urlencode({**asked, 'before': found[ROWS - 1]['number']})}"


def _last_month() -> str:
    """The last one that is over."""
    first = datetime.now(UTC).date().replace(day=1)
    return (first - timedelta(days=1)).isoformat()[:7]


async def preview(visit: Visit) -> Response:
    asked = filter_of(visit.request, "month", "owner")
    return await _previewed(visit, Form(asked))


async def issue(visit: Visit) -> Response:
    """Of the owner and month that were looked at: for good."""
    form = await read_form(visit.request)
    body = {"month": form.text("month"), "owner": form.text("owner") or None}
    try:
        await visit.admin.change("POST", "/invoices", body)
    except AdminRefusal as refusal:
        return await _previewed(visit, form.refused(refusal))
    return visit.to(PAGE, "invoice-issued")


async def _previewed(visit: Visit, form: Form) -> Response:
    asked = {name: form.text(name) for name in ("month", "owner")}
    drafts: list[dict[str, Any]] = []
    try:
        drafts = await visit.admin.get("/invoices/preview", asked)
    except AdminRefusal as refusal:
        if refusal.status not in (400, 404):
            raise
        form = form if form.refusal else form.refused(refusal)
    status = 200 if form.refusal is None else form.refusal.status
    owners = await owner_names(visit)
    return visit.page("invoice_drafts.html", status, form=form, drafts=drafts, owners=owners)


async def show_invoice(visit: Visit) -> Response:
    found: dict[str, Any] = await visit.admin.get(_path(visit))
    return visit.page("invoice.html", invoice=found)


async def print_invoice(visit: Visit) -> Response:
    answer = await visit.admin.send("GET", f"{_path(visit)}.pdf")
    told = {"Content-Disposition": answer.headers["content-disposition"]}
    return Response(answer.content, media_type="application/pdf", headers={**HEADERS, **told})


def _path(visit: Visit) -> str:
    return f"/invoices/{place(visit.request.path_params['number'])}"


ROUTES = (
    PageRoute("/usage/invoices", list_invoices),
    PageRoute("/usage/invoices/preview", preview),
    PageRoute("/usage/invoices/preview", issue, ("POST",)),
    PageRoute("/usage/invoices/{number}.pdf", print_invoice),
    PageRoute("/usage/invoices/{number}", show_invoice),
)
