"""A form that is sent twice, by a reload or a second click, does nothing twice."""

from collections import OrderedDict
from typing import Final

_MOST: Final = 10_000


class SentOnce:
    """The forms that were sent, by session and showing: the last ten thousand, of this process."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, str], None] = OrderedDict()

    def take(self, session: str, once: str) -> bool:
        """Whether it is sent for the first time."""
        showing = (session, once[:100])
        if showing in self._sent:
            return False
        self._sent[showing] = None
        if len(self._sent) > _MOST:
            self._sent.popitem(last=False)
        return True

    def give_back(self, session: str, once: str) -> None:
        """It was refused: the same may be sent again, mended."""
        self._sent.pop((session, once[:100]), None)
