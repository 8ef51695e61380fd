"""Owners: all of them, one, and what it may use."""

from typing import Any

from starlette.responses import RedirectResponse, Response

from server.console.admin_client import AdminRefusal
from server.console.forms.allowance import BUDGET_DEFAULTS, allowance_body, allowance_values
from server.console.forms.form import Form, read_form
from server.console.paging import filter_of, list_page
from server.console.routes import PageRoute, Visit
from server.console.shown import place
from server.console.views.choices import CURRENCY_OPTIONS, aliases
from server.errors import not_found


async def list_owners(visit: Visit) -> Response:
    asked = filter_of(visit.request, "q", "state")
    found = await list_page(visit.request, visit.admin, "/owners", asked)
    return visit.page("owners.html", list=found, asked=asked)


async def owner_by_name(visit: Visit) -> Response:
    """To the page of the owner with exactly this name: names are no addresses."""
    name = visit.request.query_params.get("name", "")
    for owner in await visit.admin.get("/owners", {"q": name[:200]}):
        if owner["name"] == name:
            return RedirectResponse(owner_page(owner), 303)
    raise not_found(visit.request.url.path)


async def show_owner(visit: Visit) -> Response:
    return visit.page("owner.html", owner=await asked_owner(visit))


async def new_owner(visit: Visit) -> Response:
    return await _shown(visit, Form({**BUDGET_DEFAULTS, "weight": "1"}))


async def make_owner(visit: Visit) -> Response:
    form = await read_form(visit.request)
    if not visit.is_first(form):
        return visit.to("/console/owners", "sent-before")
    body = {"name": form.text("name"), **owner_body(form)}
    try:
        made = await visit.admin.change("POST", "/owners", body)
    except AdminRefusal as refusal:
        visit.may_be_sent_again(form)
        return await _shown(visit, form.refused(refusal))
    return visit.to(owner_page(made), "owner-made")


async def edit_owner(visit: Visit) -> Response:
    owner = await asked_owner(visit)
    values = {**allowance_values(owner), "weight": str(owner["weight"])}
    return await _shown(visit, Form.showing(values), owner)


async def change_owner(visit: Visit) -> Response:
    owner, form = await asked_owner(visit), await read_form(visit.request)
    try:
        await visit.admin.change("PATCH", await owner_path(visit), owner_body(form))
    except AdminRefusal as refusal:
        return await _shown(visit, form.refused(refusal), owner)
    return visit.to(owner_page(owner), "owner-changed")


async def ask_archive(visit: Visit) -> Response:
    return visit.page("owner_archive.html", owner=await asked_owner(visit))


async def archive(visit: Visit) -> Response:
    return await _set(visit, True, "owner-archived")


async def restore(visit: Visit) -> Response:
    return await _set(visit, False, "owner-restored")


async def _set(visit: Visit, is_archived: bool, done: str) -> Response:
    owner = await asked_owner(visit)
    await visit.admin.change("PATCH", await owner_path(visit), {"archived": is_archived})
    return visit.to(owner_page(owner), done)


async def asked_owner(visit: Visit) -> dict[str, Any]:
    """The one of the address, by its id."""
    shown: dict[str, Any] = await visit.admin.get(await owner_path(visit))
    return shown


async def owner_path(visit: Visit) -> str:
    """Of the admin API, which knows names first: where an id is another owner's name, the name of
    the one that is meant."""
    owner_id = visit.request.path_params["owner_id"]
    for owner in await visit.admin.get("/owners", {"q": owner_id[:200]}):
        if owner["owner_id"] != owner_id and owner["name"] == owner_id:
            return f"/owners/{place(await _name_of(visit, owner_id))}"
    return f"/owners/{place(owner_id)}"


async def _name_of(visit: Visit, owner_id: str) -> str:
    for owner in await visit.admin.get("/owners", {"q": owner_id}):
        if owner["owner_id"] == owner_id:
            return str(owner["name"])
    raise not_found(visit.request.url.path)


def owner_page(owner: dict[str, Any]) -> str:
    return f"/console/owners/{place(owner['owner_id'])}"


def owner_body(form: Form) -> dict[str, Any]:
    body = allowance_body(form)
    if form.is_changed("weight"):
        body["weight"] = form.text("weight")
    return body


async def _shown(visit: Visit, form: Form, owner: dict[str, Any] | None = None) -> Response:
    return visit.page(
        "owner_form.html",
        200 if form.refusal is None else form.refusal.status,
        form=form,
        owner=owner,
        models=await aliases(visit),
        currencies=CURRENCY_OPTIONS,
    )


ROUTES = (
    PageRoute("/owners", list_owners),
    PageRoute("/owners/by-name", owner_by_name),
    PageRoute("/owners/new", new_owner),
    PageRoute("/owners/new", make_owner, ("POST",)),
    PageRoute("/owners/{owner_id}", show_owner),
    PageRoute("/owners/{owner_id}/edit", edit_owner),
    PageRoute("/owners/{owner_id}/edit", change_owner, ("POST",)),
    PageRoute("/owners/{owner_id}/archive", ask_archive),
    PageRoute("/owners/{owner_id}/archive", archive, ("POST",)),
    PageRoute("/owners/{owner_id}/restore", restore, ("POST",)),
)
