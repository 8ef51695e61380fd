"""Why a command cannot do its work: one line for people, exit status 2, no traceback."""


class CannotStart(Exception):
    """The message says what is wrong, where, and what would be right."""
