"""How long a request may take, by its own header."""

from server.errors import ApiError
from server.http.exchange import Exchange


def timeout_s(exchange: Exchange, longest: float) -> float:
    """The client's X-Request-Timeout (seconds), never more than the server's own."""
    asked = exchange.header(b"x-request-timeout")
    if asked is None:
        return longest
    try:
        seconds = float(asked)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        field = "X-Request-Timeout"
        provided = asked.decode("latin-1")[:40]
        raise ApiError.invalid(f"{field} must be seconds above 0.", field, provided, "seconds > 0")
    return min(seconds, longest)
