"""A library that is installed and cannot be imported: half an installation, a driver too old."""

from collections.abc import Iterator
from contextlib import contextmanager

from engines.base import EngineBroken


@contextmanager
def whole_library(name: str) -> Iterator[None]:
    """For an engine's first imports of `name`. Raises EngineBroken: another try ends alike."""
    try:
        yield
    except Exception as error:  # whatever its modules raise while they are read
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        message = f"{name} cannot be imported here: {reason}"
        raise EngineBroken(message) from error
