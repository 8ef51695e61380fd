"""A part of a list of the admin API: what a text is found in, and so many of it from somewhere."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from fastapi import Depends, Query, Response

from server.errors import ApiError

TOTAL: Final = "X-Total-Count"
"""The header that says how many there are before `limit` and `offset`."""
MOST_USED: Final = 100
T = TypeVar("T")

Words: TypeAlias = Callable[[T], Iterable[str | None]]


class ListWindow:
    """The query's `q`, `limit`, `offset` and `used`."""

    def __init__(
        self,
        response: Response,
        q: Annotated[
            str | None, Query(max_length=200, description="Part of a name or of an id.")
        ] = None,
        limit: Annotated[
            int | None, Query(ge=1, le=1000, description="So many of them. Default: all.")
        ] = None,
        offset: Annotated[int, Query(ge=0, le=10**9, description="Behind so many.")] = 0,
        used: Annotated[
            bool, Query(description="With what each has used; of at most 100 of them.")
        ] = False,
    ) -> None:
        """Raises ApiError."""
        if used and not 1 <= (limit or 0) <= MOST_USED:
            message = f"used needs a limit of at most {MOST_USED}."
            raise ApiError.invalid(message, "limit", limit, f"from 1 to {MOST_USED}")
        self.is_used = used
        self._response = response
        self._sought = (q or "").casefold()
        self._offset = offset
        self._after = None if limit is None else offset + limit

    def of(self, all_of_them: Sequence[T], words: Words[T]) -> Sequence[T]:
        """Those that are asked for; `words` of one are what `q` is looked for in. How many `q`
        is in is told in a header."""
        found = [one for one in all_of_them if self._is_in(words(one))]
        self._response.headers[TOTAL] = str(len(found))
        return found[self._offset : self._after]

    def _is_in(self, words: Iterable[str | None]) -> bool:
        return not self._sought or any(self._sought in word.casefold() for word in words if word)


Window: TypeAlias = Annotated[ListWindow, Depends(ListWindow)]
TOTAL_HEADER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "headers": {
            TOTAL: {
                "description": "How many there are before limit and offset",
                "schema": {"type": "integer"},
            }
        }
    }
}
"""How OpenAPI describes it."""
