"""An entry's values as its spec has them."""

from engines.base import Reasoning
from engines.registry.entries import ModelEntry, ReasoningEntry
from engines.registry.spec import Price
from engines.speech import TOKENS_A_SECOND


def price_of(entry: ModelEntry) -> Price:
    if entry.price_per_second is not None:
        # A second is so many tokens, and costs exactly its price.
        million = entry.price_per_second * (1_000_000 // TOKENS_A_SECOND)
        return Price(input=million, cached_input=million)
    price = entry.price
    if price is None:
        return Price()
    cached = price.input if price.cached_input is None else price.cached_input
    return Price(input=price.input, cached_input=cached, output=price.output)


def marks_of(entry: ReasoningEntry | None) -> tuple[str, str] | None:
    return None if entry is None else (entry.start, entry.end)


def reasoning_of(entry: ReasoningEntry | None) -> Reasoning | None:
    if entry is None:
        return None
    return Reasoning(start=entry.start, end=entry.end, opened_by=entry.opened_by)
