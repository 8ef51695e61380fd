"""Why a command cannot do its work: a line a mistake for people, exit status 2, no traceback."""


class CannotStart(Exception):
    """The message says what is wrong, where, and what would be right."""
