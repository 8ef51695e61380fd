"""What is said of a key on a command line -> its fields; every mistake is one line."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engines.registry.complaints import complaint, shown
from server.cli.options import failed

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def checked(make: Callable[[], Any]) -> Any:
    """What `make` returns; what does not fit is a line each and exit status 2."""
    try:
        return make()
    except ValidationError as error:
        raise failed("\n".join(map(wrong_field, error.errors()))) from None
    except ValueError as error:
        raise failed(f"{error}.") from None


def wrong_field(error: ErrorDetails) -> str:
    name = ".".join(str(part) for part in error["loc"]) or "key"
    given = error["input"]
    words = f"{given:%Y-%m-%d %H:%M %Z}" if isinstance(given, datetime) else shown(given)
    return f"{name}: {complaint(error)}; got {words}."


def expiry(text: str | None) -> dict[str, datetime]:
    """As KeyPatch names it."""
    return {} if text is None else {"expires_at": moment_of(text)}


def moment_of(text: str) -> datetime:
    """When a key ends: a date alone is its last day, in UTC."""
    try:
        if text.endswith("d") and text[:-1].isdigit():
            return datetime.fromtimestamp(time.time(), UTC) + timedelta(days=int(text[:-1]))
        if not _DATE.match(text):
            raise ValueError
        moment = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            moment += timedelta(days=1)
    except (ValueError, OverflowError):
        raise failed(
            f"--expires {shown(text)} is not a date (2027-01-31), a time with zone "
            "(2027-01-31T12:00+01:00) or days from now (30d)."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
