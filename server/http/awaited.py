"""What a connection waits for."""

from enum import Enum


class Awaited(Enum):
    """What a connection waits for from its client."""

    HEAD = "head"
    BODY = "body"
    NOTHING = "nothing"
