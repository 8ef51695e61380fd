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


async def invite(visit: Visit) -> Response:
    """The link is shown in the answer alone; to send it again makes another, and ends this one."""
    member = await asked_member(visit)
    made = await visit.admin.change("POST", f"{member_path(visit)}/invite")
    base = visit.told_url or str(visit.request.base_url)
    told = {"link": f"{base.rstrip('/')}{made['path']}", "ends_at": made["ends_at"]}
    told["path_there"] = "" if visit.told_url else made["path"]
    return visit.page("member_invite.html", 200, member=member, **told)


async def ask_end_sessions(visit: Visit) -> Response:
    sessions = await visit.admin.get(f"{member_path(visit)}/sessions")
    member = await asked_member(visit)
    return visit.page("member_sessions.html", member=member, sessions=sessions)


async def end_sessions(visit: Visit) -> Response:
    member = await asked_member(visit)
    await visit.admin.change("DELETE", f"{member_path(visit)}/sessions")
    return visit.to(member_page(member), "sessions-ended")


ROUTES = (
    PageRoute("/members/{member_id}/invite", invite, ("POST",)),
    PageRoute("/members/{member_id}/sessions", ask_end_sessions),
    PageRoute("/members/{member_id}/sessions", end_sessions, ("POST",)),
    PageRoute("/members/{member_id}/disable", ask_disable),
    PageRoute("/members/{member_id}/disable", disable, ("POST",)),
    PageRoute("/members/{member_id}/enable", enable, ("POST",)),
)
