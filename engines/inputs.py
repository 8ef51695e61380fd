"""A request's inputs: which of several a refusal is about, and what is no text."""

from collections.abc import Iterator
from contextlib import contextmanager

from engines.errors import InvalidRequest


@contextmanager
def input_at(index: int) -> Iterator[None]:
    """Whatever is refused within has this `input_index`."""
    try:
        yield
    except InvalidRequest as refusal:
        refusal.input_index = index
        raise


def encodable(text: str, field: str) -> str:
    """The text itself. Raises InvalidRequest."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{field} holds a lone surrogate, which is no character: {error}", field
        ) from error
    return text
