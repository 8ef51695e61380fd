"""A template -> a response with the headers that pages need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from server import __version__
from server.console.assets import Assets
from server.console.budget_bar import bar_of
from server.console.done import DONE
from server.console.navigation import shown_to
from server.console.rights import rights_of
from server.console.session import SignedIn
from server.console.shown import FILTERS
from server.console.words import FIGURES

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """All templates, compiled once."""

    def __init__(self, assets: Assets) -> None:
        self._jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._jinja.globals.update(asset=assets.url, version=__version__, bar_of=bar_of)
        self._jinja.filters.update(FILTERS, **FIGURES)

    def page(
        self,
        request: Request,
        template: str,
        signed_in: SignedIn | None,
        status: int = 200,
        **context: Any,
    ) -> HTMLResponse:
        """A whole page, or the fragment that htmx asked for: what the template is decides."""
        entries = [] if signed_in is None else shown_to(signed_in.principal)
        text = self._jinja.get_template(template).render(
            {
                "path": request.url.path,
                "signed_in": signed_in,
                "entries": entries,
                "rights": None if signed_in is None else rights_of(signed_in.principal),
                "done": DONE.get(request.query_params.get("done", "")),
                **context,
            }
        )
        return HTMLResponse(text, status, HEADERS)
