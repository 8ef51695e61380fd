"""A Typer as all commands of `fjord` are made."""

from typing import Any

import typer


def new_app(**how: Any) -> typer.Typer:
    """Help as plain text: as markup, `[default: 8080]` would be a style and be swallowed. Shell
    completion is `fjord`'s alone."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **{"add_completion": False, **how},
    )
