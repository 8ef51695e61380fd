"""The parameters of a list: where it begins, and how long it is."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from server.errors import ApiError, brief
from server.http.exchange import Exchange


def query_of(exchange: Exchange) -> Mapping[str, str]:
    """The last value of each. Raises ApiError 400."""
    text = exchange.scope.get("query_string", b"").decode("latin-1")
    try:
        return dict(parse_qsl(text, max_num_fields=32))
    except ValueError:
        raise ApiError.invalid("The query has too many parameters.", None, None, "32") from None


def limit_of(query: Mapping[str, str], most: int, usual: int) -> int:
    """Raises ApiError 400."""
    found = number_of(query, "limit", 1, most)
    return usual if found is None else found


def number_of(query: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """None: it is not given. Raises ApiError 400."""
    text = query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        expected = f"an integer from {least} to {most}"
        raise ApiError.invalid(f"{name} must be {expected}.", name, brief(text), expected)
    return int(text)


def one_of(query: Mapping[str, str], name: str, values: tuple[str, ...]) -> str | None:
    """None: it is not given. Raises ApiError 400."""
    text = query.get(name)
    if text is not None and text not in values:
        expected = "one of " + ", ".join(values)
        raise ApiError.invalid(f"{name} must be {expected}.", name, brief(text), expected)
    return text


def unknown_after(after: str | None) -> ApiError:
    shown = brief(after)
    message = f"There is nothing with the id {shown!r} to begin after."
    return ApiError.invalid(message, "after", shown, "the id of one in the list")
