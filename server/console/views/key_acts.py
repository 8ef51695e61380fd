"""Keys: a new text, and the end."""

from decimal import Decimal

from starlette.responses import Response

from server.console.admin_client import AdminRefusal
from server.console.forms.form import Form, read_form
from server.console.routes import PageRoute, Visit
from server.console.views.keys import asked_key, key_page, key_path

HOUR_S = 3600


async def ask_rotate(visit: Visit) -> Response:
    return visit.page("key_rotate.html", key=await asked_key(visit), form=Form({"grace_s": "24"}))


async def rotate(visit: Visit) -> Response:
    key, form = await asked_key(visit), await read_form(visit.request)
    if not visit.is_first(form):
        return visit.to(key_page(key["key_id"]), "key-shown")
    params = {"grace_s": grace_s(form.text("grace_s"))}
    try:
        made = await visit.admin.change("POST", f"{key_path(visit)}/rotate", params=params)
    except AdminRefusal as refusal:
        visit.may_be_sent_again(form)
        refused = form.refused(refusal)
        return visit.page("key_rotate.html", refusal.status, key=key, form=refused)
    return visit.page("key_text.html", key=made, is_new=False)


def grace_s(hours: str) -> str:
    """In seconds; what is no number is left for the admin API to refuse."""
    try:
        seconds = Decimal(hours or "0") * HOUR_S
    except ArithmeticError:  # no number, or one that is too large
        return hours
    return str(seconds)


async def ask_revoke(visit: Visit) -> Response:
    return visit.page("key_revoke.html", key=await asked_key(visit))


async def revoke(visit: Visit) -> Response:
    revoked = await visit.admin.change("DELETE", key_path(visit))
    return visit.to(key_page(revoked["key_id"]), "key-revoked")


ROUTES = (
    PageRoute("/keys/{key_id}/rotate", ask_rotate),
    PageRoute("/keys/{key_id}/rotate", rotate, ("POST",)),
    PageRoute("/keys/{key_id}/revoke", ask_revoke),
    PageRoute("/keys/{key_id}/revoke", revoke, ("POST",)),
)
