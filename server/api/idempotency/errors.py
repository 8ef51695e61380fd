"""What is refused of a request with a key, in the contract's words."""

import re
from collections.abc import Sequence
from typing import Final

from server.errors import ApiError
from server.idempotency.entry import MOST_KEY

FIELD: Final = "Idempotency-Key"
_KEY: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def checked_key(key: bytes, given: Sequence[bytes]) -> str:
    """`given`: each that the request brings. Raises ApiError 400."""
    if len(given) > 1:
        message = f"{FIELD} is there {len(given)} times; right would be once."
        raise ApiError.invalid(message, FIELD, len(given), "one key")
    if _KEY.fullmatch(key) is None:
        expected = f"1 to {MOST_KEY} printable ASCII characters"
        shown = key[:40].decode("ascii", "replace")
        message = f"{FIELD} must have {expected}; it has {len(key)} bytes."
        raise ApiError.invalid(message, FIELD, shown, expected)
    return key.decode("ascii")


def other_body() -> ApiError:
    message = (
        f"This {FIELD} came with another body within a day; right would be the same body, or a key "
        "of its own."
    )
    return ApiError(422, "IDEMPOTENCY_KEY_REUSED", message, param=FIELD)


def no_answer() -> ApiError:
    """It is asked no more by clients that ask again after a 409."""
    message = (
        f"The first request with this {FIELD} was carried out as far as it came, and its answer is "
        "not kept: the server ended, or it was too long. A new key asks, and bills, anew."
    )
    headers = {"X-Should-Retry": "false"}
    return ApiError(409, "IDEMPOTENCY_ANSWER_LOST", message, param=FIELD, headers=headers)


def still_running() -> ApiError:
    """Also clients that ask again after a 409 of themselves wait for it."""
    message = (
        f"Another node still answers the first request with this {FIELD}; ask again, with the same "
        "key, and its answer comes."
    )
    headers = {"Retry-After": "2"}
    return ApiError(409, "IDEMPOTENCY_IN_PROGRESS", message, param=FIELD, headers=headers)


def given_up() -> ApiError:
    message = f"The first request with this {FIELD} was ended by the server."
    return ApiError.retry(503, "SHUTTING_DOWN", message, 5)


def too_many_keys() -> ApiError:
    message = f"This owner has used as many {FIELD}s as are known in a day; without one it works."
    return ApiError.retry(429, "RATE_LIMIT_EXCEEDED", message, 3600)


def cannot_forget() -> ApiError:
    message = "Kept answers cannot be destroyed now; the server's log says why."
    return ApiError.retry(503, "OVERLOADED", message, 30)


def cannot_remember() -> ApiError:
    message = f"An {FIELD} cannot be remembered now; without one the request would be answered."
    return ApiError.retry(503, "OVERLOADED", message, 10)
