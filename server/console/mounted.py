"""The console as an application has it: its pages, its door, its files."""

from starlette.routing import Route

from server.api.services import Services
from server.console.api_door import ApiDoor
from server.console.no_page import no_page
from server.console.routes import Console
from server.console.session import Sessions
from server.console.sign_in.book_sessions import BookSessions
from server.console.sign_in.routes import door_routes
from server.console.views.all_pages import PAGES
from server.http.asgi import App
from server.sign_in.issuers import Issuers


def console_routes(
    admin: App, api: App, services: Services, sessions: Sessions | None
) -> list[Route]:
    """`admin`: the application with /admin/v1. `api`: the one that programs use, with its log of
    requests. `sessions` None: those of the books."""
    settings = services.settings
    url = settings.console_url
    is_secure = url is not None and url.startswith("https://")
    own = BookSessions(services.ledger.open_books, is_secure=is_secure)
    issuers = Issuers(lambda: services.registry.access, is_offline=settings.offline)
    port = None if settings.ops_port is None else settings.port
    told = url.rstrip("/") if url is not None and port is None else None
    door = ApiDoor(app=api, port=port, told_url=told, needs_key=not settings.no_auth)
    given: Sessions = own if sessions is None else sessions
    console = Console(admin, given, door, url)
    routes = [*console.routes(PAGES), *door_routes(own, console.pages, issuers, url)]
    return [*routes, no_page(console.pages, given, routes)]
