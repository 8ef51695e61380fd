"""A page of a list: which part of it is shown, and where the parts beside it are."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request

from server.console.admin_client import AdminClient, Params

ROWS: Final = 50
_MOST_PAGES: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """Rows `first` to `last` of `total`, counted from 1."""

    path: str
    asked: Mapping[str, str]
    """The filter, as it is in the address."""
    number: int
    rows: list[dict[str, object]]
    total: int

    @classmethod
    def without_rows(cls, request: Request, asked: Mapping[str, str]) -> "ListPage":
        return cls(path=request.url.path, asked=asked, number=1, rows=[], total=0)

    @property
    def first(self) -> int:
        return (self.number - 1) * ROWS + 1 if self.rows else 0

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1 if self.rows else 0

    @property
    def newer(self) -> str | None:
        return self._at(self.number - 1) if self.number > 1 else None

    @property
    def older(self) -> str | None:
        return self._at(self.number + 1) if self.last and self.last < self.total else None

    def _at(self, number: int) -> str:
        given = {name: value for name, value in self.asked.items() if value}
        return f"{self.path}?{urlencode({**given, 'page': number})}"


def filter_of(request: Request, *names: str) -> dict[str, str]:
    """What the address asks for, by name; "": all."""
    return {name: request.query_params.get(name, "").strip() for name in names}


def number_of(request: Request) -> int:
    """Which page; what is no number is the first one."""
    text = request.query_params.get("page", "1")
    is_number = text.isascii() and text.isdecimal() and len(text) < 8
    return min(max(int(text), 1), _MOST_PAGES) if is_number else 1


async def list_page(
    request: Request,
    admin: AdminClient,
    path: str,
    asked: Mapping[str, str],
    extra: Params = MappingProxyType({}),
) -> ListPage:
    """Of a list of the admin API that has limit, offset and a total. Raises AdminRefusal."""
    number = number_of(request)
    window = {"limit": ROWS, "offset": (number - 1) * ROWS, "used": True}
    answer = await admin.send("GET", path, params={**asked, **extra, **window})
    return ListPage(
        path=request.url.path,
        asked=asked,
        number=number,
        rows=answer.json(),
        total=int(answer.headers["x-total-count"]),
    )
