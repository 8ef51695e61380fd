"""/admin/v1/now and /admin/v1/now/events."""

from collections.abc import AsyncGenerator, Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.accounts.principal import PRINCIPAL
from server.api.admin.models import known_to
from server.api.admin.now.events import HEARTBEAT, EventStream, event
from server.api.admin.now.look import Looks
from server.api.admin.now.seen import seen_by
from server.api.admin.now.watching import Watching
from server.api.admin.now.wire import Now
from server.api.admin.reach import Reached
from server.api.services import Services
from server.http.recent_requests import RecentRequests

_EVENTS = {
    "description": "`event: now`, its data as `GET /admin/v1/now` without `history`, once a second "
    "for ten minutes at most; a comment where there is nothing to tell",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


def add_now_routes(router: APIRouter, services: Services, recent: RecentRequests) -> None:
    looks = Looks(services, recent)
    watching = Watching(looks.look, services.supervisor)

    @router.get("/now", summary="What the server does now: cards, models, queues, speed, alerts")
    async def show_now(reach: Reached) -> Now:
        """An owner's people see the models that the owner may know of, without what all owners
        together do with them."""
        now = await looks.look()
        now.history = list(watching.history)
        return seen_by(now, reach.owner, await known_to(services, reach.owner))

    @router.get(
        "/now/events",
        summary="The same once a second, as server-sent events",
        response_class=Response,
        responses={200: _EVENTS},
    )
    async def watch_now(request: Request, reach: Reached) -> Response:
        name, owner = request.scope[PRINCIPAL].name, reach.owner
        watching.check(name)
        names = await known_to(services, owner)
        pieces = _pieces(watching, name, lambda now: seen_by(now, owner, names))
        return EventStream(pieces, services.settings.send_timeout_s)


async def _pieces(
    watching: Watching, name: str, seen: Callable[[Now], Now]
) -> AsyncGenerator[bytes, None]:
    with watching.watcher(name):
        async for now in watching.looks():
            if now is None:
                yield HEARTBEAT
            else:
                yield event("now", seen(now).model_dump_json(exclude={"history"}))
