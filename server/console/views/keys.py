"""Keys: all of them, a part at a time, and one."""

from typing import Any

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.paging import ListPage, filter_of, list_page
from server.console.routes import PageRoute, Visit
from server.console.shown import place
from server.console.views.choices import member_names, owner_names


async def list_keys(visit: Visit) -> Response:
    asked = filter_of(visit.request, "q", "owner", "member", "state")
    wrong = ""
    try:
        found = await list_page(visit.request, visit.admin, "/keys", asked, {"newest": True})
    except AdminRefusal as refusal:
        if refusal.status not in (400, 404):
            raise
        found, wrong = ListPage.without_rows(visit.request, asked), str(refusal)
    return visit.page(
        "keys.html",
        list=found,
        asked=asked,
        wrong=wrong,
        owners=await owner_names(visit),
        members=await member_names(visit),
    )


async def show_key(visit: Visit) -> Response:
    key = await asked_key(visit)
    return visit.page("key.html", key=key, sees_member=await _sees_member(visit, key))


async def _sees_member(visit: Visit, key: dict[str, Any]) -> bool:
    """An owner's key may be a person's of the site, whom that owner's people do not see."""
    if key["member_id"] is None or visit.signed_in.principal.owner is None:
        return key["member_id"] is not None
    try:
        await visit.admin.get(f"/members/{place(key['member_id'])}")
    except AdminRefusal:
        return False
    return True


async def asked_key(visit: Visit) -> dict[str, Any]:
    """The one of the address."""
    found: dict[str, Any] = await visit.admin.get(key_path(visit))
    return found


def key_path(visit: Visit) -> str:
    """Of the admin API."""
    return f"/keys/{place(visit.request.path_params['key_id'])}"


def key_page(key_id: object) -> str:
    return f"/console/keys/{place(key_id)}"


ROUTES = (PageRoute("/keys", list_keys), PageRoute("/keys/{key_id}", show_key))
