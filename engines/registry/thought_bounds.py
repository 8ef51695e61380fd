"""What cannot be of a model's `reasoning`: bounds of thoughts that contradict each other."""

from collections.abc import Iterator

from engines.registry.entries import ReasoningEntry
from engines.registry.yaml import Location


def wrong_bounds(entry: ReasoningEntry) -> Iterator[tuple[Location, str]]:
    """(keys below `reasoning`, what is wrong)."""
    most = entry.most
    if entry.budget is not None and most is not None and entry.budget > most:
        yield ("budget",), _too_many(entry.budget, most)
    for effort, tokens in entry.budgets.items():
        if effort == "none" and tokens:
            yield ("budgets", effort), f"{tokens}, and none turns the thought off; right would be 0"
        elif most is not None and tokens > most:
            yield ("budgets", effort), _too_many(tokens, most)


def _too_many(tokens: int, most: int) -> str:
    return f"{tokens} tokens are more than reasoning.most, which is {most}"
