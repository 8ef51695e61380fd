"""/admin/v1/now and /admin/v1/now/events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.accounts.principal import PRINCIPAL, STILL_THERE, StillThere
from server.api.admin.models import known_to
from server.api.admin.now.events import HEARTBEAT, EventStream, event
from server.api.admin.now.look import Looks
from server.api.admin.now.seen import seen_by
from server.api.admin.now.watching import Watching
from server.api.admin.now.wire import Now
from server.api.admin.reach import Reached
from server.api.services import Services
from server.http.recent_requests import RecentRequests

ASK_AGAIN_S: Final = 3.0
"""So often who watches is looked at again."""
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
        looks = _while_there(watching.looks(), request.scope[STILL_THERE])
        pieces = _pieces(watching, name, looks, lambda now: seen_by(now, owner, names))
        return EventStream(pieces, services.settings.send_timeout_s)


async def _while_there(
    looks: AsyncIterator[Now | None], still_there: StillThere
) -> AsyncIterator[Now | None]:
    """Until their session has ended, their key is refused, or their role is another."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    async for now in looks:
        if loop.time() - asked_at >= ASK_AGAIN_S:
            if not await still_there():
                return
            asked_at = loop.time()
        yield now


async def _pieces(
    watching: Watching,
    name: str,
    looks: AsyncIterator[Now | None],
    seen: Callable[[Now], Now],
) -> AsyncGenerator[bytes, None]:
    with watching.watcher(name):
        async for now in looks:
            if now is None:
                yield HEARTBEAT
            else:
                yield event("now", seen(now).model_dump_json(exclude={"history"}))
