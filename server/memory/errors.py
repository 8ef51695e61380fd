"""What the memory raises; every message is fit for a client."""


class MemoryTrouble(Exception):
    """It cannot be written or read now."""


class MemoryFull(Exception):
    """Its owner's bytes have no room for more."""


class TooManyOpen(Exception):
    """Its owner has as many background responses that are not over as may be."""


class NotKept(Exception):
    """There is none of that owner's with this id, or not any more. `what`: the id."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class TooLong(Exception):
    """What came before is more than one request may have."""
