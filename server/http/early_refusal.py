"""A refusal before there is a request that could be answered: its bytes."""

from server.errors import ApiError

_REASONS = {400: "Bad Request", 431: "Request Header Fields Too Large"}


def refusal_bytes(error: ApiError, request_id: str) -> bytes:
    """A whole HTTP/1.1 answer, after which the connection is closed."""
    body = error.encoded()
    head = (
        f"HTTP/1.1 {error.status} {_REASONS[error.status]}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
