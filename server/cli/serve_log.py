"""Where a server's log goes and how it reads: words for a terminal, JSON lines for programs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from server.cli.raw_lines import raw_lines_wrapped
from server.http.log_output import logging_to
from server.settings import Settings


def is_json(settings: Settings) -> bool:
    """Whether the log is JSON lines: asked for, or nobody sits before it."""
    return settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )


def has_reader(settings: Settings) -> bool:
    """Whether a person reads stdout: the greeting, and a key, are for a terminal alone."""
    return sys.stdout.isatty() and settings.log_format != "json"


@contextmanager
def serve_log(settings: Settings) -> Iterator[None]:
    """The log, for the block's time."""
    if not is_json(settings):
        with logging_to(sys.stderr, settings.log_level, as_json=False):
            yield
        return
    with raw_lines_wrapped() as stream, logging_to(stream, settings.log_level, as_json=True):
        yield
