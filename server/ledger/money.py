"""Exact money: integer micro-units, priced per million tokens."""

from server.ledger.records import UsageRecord

MICRO = 1_000_000


BROKEN = ("engine_died", "failed", "shut_down", "lost")
"""Ends that are the server's own doing."""


def charge_of(record: UsageRecord, *, is_delivered: bool) -> int:
    """What is billed of `record`: nothing where the server itself broke an answer of which nothing
    was delivered; of a whole one nothing can have been."""
    return amount_of(record) if is_delivered or record.end not in BROKEN else 0


def amount_of(record: UsageRecord) -> int:
    """What `record` costs, in micro-units; rounded half up, once a record.

    Cached prompt tokens are part of `prompt_tokens` and are billed at their own price.
    """
    fresh_tokens = record.prompt_tokens - record.cached_tokens
    exact = (
        fresh_tokens * record.price_input
        + record.cached_tokens * record.price_cached
        + record.completion_tokens * record.price_output
    )
    return (exact + MICRO // 2) // MICRO


def reserve_of(record: UsageRecord, completion_tokens: int) -> int:
    """The most `record` can cost if it generates `completion_tokens` and nothing was cached."""
    dearest_input = max(record.price_input, record.price_cached)
    exact = record.prompt_tokens * dearest_input + completion_tokens * record.price_output
    return -(-exact // MICRO)


def decimal_text(micro: int) -> str:
    """All six decimals, never rounded: `12.500000`."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO)
    return f"{sign}{whole}.{rest:06d}"


def money_text(micro: int, currency: str) -> str:
    return f"{decimal_text(micro)} {currency}"
