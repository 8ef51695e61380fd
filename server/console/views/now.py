"""What runs now, and what its operator tells it."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse, Response

from server.console.routes import PageRoute, Visit
from server.console.small_forms import form_of, word_of

COMMANDS: Final = ("load", "sleep", "unload", "pin", "unpin")
_ASK_FIRST: Final = frozenset({"sleep", "unload"})
_SAID: Final = {
    "load": "{} is being loaded.",
    "sleep": "{} goes to sleep once its requests have ended.",
    "unload": "{} is unloaded once its requests have ended.",
    "pin": "{} is pinned: it makes room for no other.",
    "unpin": "{} is no longer pinned.",
}


def operates(visit: Visit) -> bool:
    who = visit.signed_in.principal
    return who.role == "admin" and who.owner is None


async def now(visit: Visit) -> Response:
    found = await visit.admin.get("/now")
    query = visit.request.query_params
    return visit.page(
        "now.html",
        now=found,
        history=[list(moment.values()) for moment in found["history"]],
        commands=COMMANDS if operates(visit) else (),
        possible=possible,
        said=_said(found["models"], query.get("told", ""), query.get("model", "")),
    )


def possible(model: Mapping[str, Any]) -> list[str]:
    """The commands that would change something; figures.js has the same."""
    state, stays = model["state"], model["is_pinned"]
    is_away = state in ("cold", "failed", "sleeping") or not model["is_open"]
    return [
        *(["load"] if is_away else []),
        *(["sleep"] if state == "ready" and not stays and model["replicas"] == 1 else []),
        *(["unload"] if state not in ("cold", "failed", "stopping") else []),
        "unpin" if stays else "pin",
    ]


def _said(models: list[dict[str, Any]], command: str, alias: str) -> str:
    """What came of the last command; the address may be anybody's words."""
    is_known = any(model["alias"] == alias for model in models)
    return _SAID[command].format(alias) if command in _SAID and is_known else ""


async def events(visit: Visit) -> Response:
    return visit.admin.passed_on("/now/events", visit.still_there)


async def command(visit: Visit) -> Response:
    alias, word = visit.request.path_params["alias"], visit.request.path_params["command"]
    form = await form_of(visit.request)
    if word in _ASK_FIRST and word_of(form, "sure") != "yes":
        model = (await visit.admin.get(f"/registry/{quote(alias)}"))["operated"]
        if model["requests"] or model["waiting"]:
            return visit.page("sure.html", model=model, command=word)
    await visit.admin.change("POST", f"/models/{quote(alias)}/{word}")
    return RedirectResponse(f"/console?{urlencode({'told': word, 'model': alias})}", 303)


ROUTES = (
    PageRoute("", now),
    PageRoute("/now/events", events),
    PageRoute("/models/{alias:path}/{command}", command, ("POST",)),
)
