"""A playground: chats with any model through the public API, with a key of its own."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.responses import JSONResponse, Response

from server.console.admin_client import AdminRefusal
from server.console.pages import HEADERS
from server.console.routes import PageRoute, Visit
from server.console.small_forms import form_of, word_of
from server.console.snippets import snippets

KEY_NAME: Final = "playground"
LASTS: Final = timedelta(hours=12)
MOST_CODE_BYTES: Final = 256 * 2**10


async def chat(visit: Visit) -> Response:
    registry = await visit.admin.get("/registry")
    asked = visit.request.query_params.get("model", "")
    return visit.page(
        "chat.html",
        models=[each for each in registry["models"] if each["task"] == "generate"],
        asked=asked,
        owners=await _owners(visit),
        needs_key=visit.api.needs_key,
    )


async def _owners(visit: Visit) -> list[str]:
    """Whom its answers may be billed to."""
    owner = visit.signed_in.principal.owner
    if owner is not None or not visit.api.needs_key:
        return [owner] if owner else []
    return [each["name"] for each in await visit.admin.get("/owners") if each["state"] == "active"]


async def make_key(visit: Visit) -> Response:
    """A key that ends with the day's work; its text goes to the page's memory, and nowhere
    else."""
    form, who = await form_of(visit.request), visit.signed_in.principal
    owner = who.owner or word_of(form, "owner")
    body = {
        "name": KEY_NAME,
        "owner": owner,
        "member": who.member_id,
        "expires_at": (datetime.now(UTC) + LASTS).isoformat(),
    }
    try:
        if who.owner is None:  # an unknown name would make an owner
            await visit.admin.get(f"/owners/{quote(owner)}")
        made = await visit.admin.change("POST", "/keys", body)
    except AdminRefusal as refusal:
        return _refused(refusal)
    return _json({name: made[name] for name in ("key", "key_id", "owner", "expires_at")})


async def end_key(visit: Visit) -> Response:
    """The page is left."""
    form = await form_of(visit.request)
    try:
        await visit.admin.change("DELETE", f"/keys/{quote(word_of(form, 'key_id'), safe='')}")
    except AdminRefusal as refusal:
        return _refused(refusal)
    return Response(status_code=204)


async def completions(visit: Visit) -> Response:
    return visit.api.chat()


async def answer(visit: Visit) -> Response:
    """What one cost, and how long it took; 204 until it has ended, and where nobody knows it."""
    request_id = visit.request.path_params["request_id"]
    try:
        found = await visit.admin.get(f"/requests/{quote(request_id, safe='')}")
    except AdminRefusal as refusal:
        return Response(status_code=204) if refusal.status == 404 else _refused(refusal)
    told = ("amount", "currency", "ttft_ms", "tokens_per_s", "duration_ms", "end")
    return _json({name: found[name] for name in told})


async def code(visit: Visit) -> Response:
    """The lines that make a request: of its body, which is the page's own."""
    length = visit.request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MOST_CODE_BYTES:
        return _json({"error": {"message": "That is too long to be shown as code."}}, 413)
    try:
        body = msgspec.json.decode(await visit.request.body(), type=dict[str, Any])
        api = f"{visit.api.url(visit.request)}/v1"
        shown = await asyncio.to_thread(snippets, api, "/chat/completions", body)
    except (msgspec.DecodeError, RecursionError):
        return _json({"error": {"message": "That is no JSON object, or too deep a one."}}, 400)
    return _json({"snippets": [{"name": each.name, "text": each.text} for each in shown]})


def _refused(refusal: AdminRefusal) -> Response:
    return _json({"error": {"message": str(refusal)}}, refusal.status)


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, HEADERS)


ROUTES = (
    PageRoute("/chat", chat),
    PageRoute("/chat/key", make_key, ("POST",)),
    PageRoute("/chat/key/end", end_key, ("POST",)),
    PageRoute("/chat/completions", completions, ("POST",), takes_form=False),
    PageRoute("/chat/answers/{request_id}", answer),
    PageRoute("/chat/code", code, ("POST",), takes_form=False),
)
