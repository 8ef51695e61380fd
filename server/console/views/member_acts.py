"""Members: whether their keys are accepted, their way in, and the end of their sessions."""

from starlette.responses import Response

from server.console.routes import PageRoute, Visit
from server.console.views.members import asked_member, member_page, member_path


async def ask_disable(visit: Visit) -> Response:
    return visit.page("member_disable.html", member=await asked_member(visit))


async def disable(visit: Visit) -> Response:
    return await _set(visit, True, "member-disabled")


async def enable(visit: Visit) -> Response:
    return await _set(visit, False, "member-enabled")


async def _set(visit: Visit, is_disabled: bool, done: str) -> Response:
    changed = await visit.admin.change("PATCH", member_path(visit), {"disabled": is_disabled})
    return visit.to(member_page(changed), done)


ROUTES = (
    PageRoute("/members/{member_id}/disable", ask_disable),
    PageRoute("/members/{member_id}/disable", disable, ("POST",)),
    PageRoute("/members/{member_id}/enable", enable, ("POST",)),
)
