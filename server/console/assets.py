"""Static files, under names that change with their bytes: a browser keeps them for good."""

import hashlib
import mimetypes
import re
from functools import cached_property
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.errors import not_found

STATIC: Final = Path(__file__).parent / "static"
PREFIX: Final = "/console/static"
_IMPORTED: Final = re.compile(rb'"\./([a-z_]+\.js)"')
_KEPT: Final = "public, max-age=31536000, immutable"


class Assets:
    """All files below static/, in memory: some 200 kB."""

    @cached_property
    def _files(self) -> dict[str, tuple[bytes, str]]:
        """By the name that pages use: digest, dash, file name."""
        found = {}
        for path in sorted(STATIC.rglob("*")):
            kind = mimetypes.guess_type(path.name)[0]
            if path.is_file() and kind is not None:
                body = _linked(path)
                found[_hashed(path.name, body)] = (body, kind)
        return found

    def url(self, name: str) -> str:
        """Of the file with that name. Raises KeyError."""
        for hashed in self._files:
            if hashed.partition("-")[2] == name:
                return f"{PREFIX}/{hashed}"
        raise KeyError(name)

    async def answer(self, request: Request) -> Response:
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise not_found(request.url.path)
        body, kind = found
        headers = {"Cache-Control": _KEPT, "X-Content-Type-Options": "nosniff"}
        return Response(body, media_type=kind, headers=headers)

    def route(self) -> Route:
        return Route(f"{PREFIX}/{{name}}", self.answer, methods=["GET"])


def _hashed(name: str, body: bytes) -> str:
    return f"{hashlib.sha256(body).hexdigest()[:12]}-{name}"


def _linked(path: Path) -> bytes:
    """A file; of a module the names that it imports are those under which they are served."""

    def served(found: re.Match[bytes]) -> bytes:
        name = found[1].decode()
        return f'"./{_hashed(name, _linked(STATIC / name))}"'.encode()

    body = path.read_bytes()
    return body if path.parent != STATIC else _IMPORTED.sub(served, body)
