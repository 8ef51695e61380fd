"""Where a request may be answered."""

from collections.abc import Sequence

from server.errors import ApiError, brief


def check_region(asked: str | None, regions: Sequence[str]) -> None:
    """Raises ApiError for one that this site does not have."""
    if asked is not None and asked not in regions:
        expected = "one of " + ", ".join(regions)
        region = brief(asked)
        message = f"Unknown region {region!r}; expected {expected}."
        raise ApiError.invalid(message, "region", region, expected)
