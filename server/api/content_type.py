"""What a body says that it is."""

from server.errors import ApiError, brief
from server.http.exchange import Exchange


def check_content_type(exchange: Exchange) -> None:
    """415 where a body says it is something else than JSON; silence is taken for JSON."""
    kind = exchange.header(b"content-type")
    if kind is None:
        return
    name = kind.split(b";", 1)[0].strip().lower()
    if name != b"application/json" and not name.endswith(b"+json"):
        message = f"Content-Type is {brief(name.decode('latin-1'))!r}; expected application/json."
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message)
