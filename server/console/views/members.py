"""Members: all of them, one, and the forms that make and change one."""

from typing import Any

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.forms.allowance import BUDGET_DEFAULTS, allowance_body, allowance_values
from server.console.forms.form import Form, read_form
from server.console.paging import ListPage, filter_of, list_page
from server.console.routes import PageRoute, Visit
from server.console.shown import place
from server.console.views.choices import CURRENCY_OPTIONS, aliases, owner_names


async def list_members(visit: Visit) -> Response:
    asked = filter_of(visit.request, "q", "owner", "role", "state")
    wrong = ""
    try:
        found = await list_page(visit.request, visit.admin, "/members", asked)
    except AdminRefusal as refusal:
        if refusal.status not in (400, 404):
            raise
        found, wrong = ListPage.without_rows(visit.request, asked), str(refusal)
    owners = await owner_names(visit)
    return visit.page("members.html", list=found, asked=asked, wrong=wrong, owners=owners)


async def show_member(visit: Visit) -> Response:
    return visit.page("member.html", member=await asked_member(visit))


async def new_member(visit: Visit) -> Response:
    owner = visit.signed_in.principal.owner or visit.request.query_params.get("owner", "")
    return await _shown(visit, Form({**BUDGET_DEFAULTS, "role": "member", "owner": owner}))


async def make_member(visit: Visit) -> Response:
    form = await read_form(visit.request)
    if not visit.is_first(form):
        return visit.to("/console/members", "sent-before")
    try:
        made = await visit.admin.change("POST", "/members", _new_body(form))
    except AdminRefusal as refusal:
        visit.may_be_sent_again(form)
        return await _shown(visit, form.refused(refusal))
    return visit.to(member_page(made), "member-made")


async def edit_member(visit: Visit) -> Response:
    member = await asked_member(visit)
    values = {name: member[name] or "" for name in ("name", "email", "role")}
    return await _shown(visit, Form.showing({**allowance_values(member), **values}), member)


async def change_member(visit: Visit) -> Response:
    member, form = await asked_member(visit), await read_form(visit.request)
    try:
        await visit.admin.change("PATCH", member_path(visit), member_body(form))
    except AdminRefusal as refusal:
        return await _shown(visit, form.refused(refusal), member)
    return visit.to(member_page(member), "member-changed")


async def asked_member(visit: Visit) -> dict[str, Any]:
    """The one of the address."""
    found: dict[str, Any] = await visit.admin.get(member_path(visit))
    return found


def member_path(visit: Visit) -> str:
    """Of the admin API, which knows ids first."""
    return f"/members/{place(visit.request.path_params['member_id'])}"


def member_page(member: dict[str, Any]) -> str:
    return f"/console/members/{place(member['member_id'])}"


def member_body(form: Form) -> dict[str, Any]:
    """As the admin API takes it: what was changed."""
    body = {**allowance_body(form), **form.changed_texts(["email"])}
    for name in ("name", "role"):
        if form.is_changed(name):
            body[name] = form.text(name)
    return body


def _new_body(form: Form) -> dict[str, Any]:
    return {**member_body(form), "name": form.text("name"), **form.changed_texts(["owner"])}


async def _shown(visit: Visit, form: Form, member: dict[str, Any] | None = None) -> Response:
    return visit.page(
        "member_form.html",
        200 if form.refusal is None else form.refusal.status,
        form=form,
        member=member,
        owners=await owner_names(visit),
        models=await aliases(visit),
        currencies=CURRENCY_OPTIONS,
    )


ROUTES = (
    PageRoute("/members", list_members),
    PageRoute("/members/new", new_member),
    PageRoute("/members/new", make_member, ("POST",)),
    PageRoute("/members/{member_id}", show_member),
    PageRoute("/members/{member_id}/edit", edit_member),
    PageRoute("/members/{member_id}/edit", change_member, ("POST",)),
)
