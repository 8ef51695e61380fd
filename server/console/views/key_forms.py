"""Keys: the form that makes one, and the form that changes one."""

from typing import Any

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.forms.allowance import BUDGET_DEFAULTS, allowance_body, allowance_values
from server.console.forms.form import Form, read_form
from server.console.routes import PageRoute, Visit
from server.console.views.choices import CURRENCY_OPTIONS, aliases, member_names, owner_names
from server.console.views.keys import asked_key, key_page, key_path

PLACES = ("name", "owner", "member")


async def new_key(visit: Visit) -> Response:
    query, who = visit.request.query_params, visit.signed_in.principal
    first = {"owner": who.owner or query.get("owner", ""), "member": query.get("member", "")}
    if who.role == "member":
        first["member"] = who.name
    return await _shown(visit, Form({**BUDGET_DEFAULTS, **first}))


async def make_key(visit: Visit) -> Response:
    form = await read_form(visit.request)
    if not visit.is_first(form):
        return visit.to("/console/keys", "key-shown")
    body = key_body(form) | ({"admin": True} if form.has("admin") else {})
    try:
        made = await visit.admin.change("POST", "/keys", body)
    except AdminRefusal as refusal:
        visit.may_be_sent_again(form)
        return await _shown(visit, form.refused(refusal))
    return visit.page("key_text.html", key=made, is_new=True)


async def edit_key(visit: Visit) -> Response:
    key = await asked_key(visit)
    return await _shown(visit, Form.showing(key_values(key)), key)


async def change_key(visit: Visit) -> Response:
    key, form = await asked_key(visit), await read_form(visit.request)
    try:
        await visit.admin.change("PATCH", key_path(visit), key_body(form))
    except AdminRefusal as refusal:
        return await _shown(visit, form.refused(refusal), key)
    return visit.to(key_page(key["key_id"]), "key-changed")


def key_values(key: dict[str, Any]) -> dict[str, str]:
    """As the form shows a key."""
    return {
        **allowance_values(key),
        "name": key["name"],
        "owner": key["owner"],
        "member": key["member_id"] or "",
        "expires_at": (key["expires_at"] or "")[:16],
    }


def key_body(form: Form) -> dict[str, Any]:
    """As the admin API takes it: what was changed."""
    body = allowance_body(form)
    if form.is_changed("name"):
        body["name"] = form.text("name")
    if form.is_changed("owner") and (form.text("owner") or form.was):
        body["owner"] = form.text("owner")
    if form.is_changed("member"):
        body["member"] = form.text("member") or None
    if form.is_changed("expires_at"):
        body["expires_at"] = f"{form.text('expires_at')}Z" if form.text("expires_at") else None
    return body


async def _shown(visit: Visit, form: Form, key: dict[str, Any] | None = None) -> Response:
    return visit.page(
        "key_form.html",
        200 if form.refusal is None else form.refusal.status,
        form=form,
        key=key,
        owners=await owner_names(visit),
        members=await member_names(visit),
        models=await aliases(visit),
        currencies=CURRENCY_OPTIONS,
    )


ROUTES = (
    PageRoute("/keys/new", new_key),
    PageRoute("/keys/new", make_key, ("POST",)),
    PageRoute("/keys/{key_id}/edit", edit_key),
    PageRoute("/keys/{key_id}/edit", change_key, ("POST",)),
)
