"""A question before something is destroyed."""

import sys

import typer

from server.refusal import CannotStart


def ask(question: str, otherwise: str) -> None:
    """Raises Abort for a no, and CannotStart(otherwise) where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise CannotStart(otherwise)
    typer.confirm(question, abort=True)
