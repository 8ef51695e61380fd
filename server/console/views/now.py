"""What runs now."""

from starlette.responses import Response

from server.console.routes import PageRoute, Visit


async def now(visit: Visit) -> Response:
    found = await visit.admin.get("/models")
    return visit.page("now.html", models=found["models"])


ROUTES = (PageRoute("", now),)
