"""Room in llama.cpp's cache for prompts with pictures.

Its slots share one cache, in which old prompts stay. Where a text finds no room, llama.cpp forgets
them one by one; where a picture finds none, its prompt fails. So they are forgotten before.
"""

from contextlib import suppress

from engines.base import EngineError
from engines.llamacpp.http_client import HttpClient, Slot


class CacheRoom:
    """One model's. Everything blocks."""

    def __init__(self, http: HttpClient, cells: int) -> None:
        self._http, self._cells = http, cells

    def make(self, cells: int) -> None:
        """Forgets what stands longest in slots that do nothing, until so many cells are free. What
        begins meanwhile may take some of them."""
        slots = self._http.slots()
        missing = sum(slot.tokens for slot in slots) + cells - self._cells
        for slot in sorted(slots, key=_age):
            if missing <= 0:
                return
            if not slot.is_busy and slot.tokens:
                with suppress(EngineError, RuntimeError):  # it is busy now
                    self._http.forget(slot.id)
                missing -= slot.tokens


def _age(slot: Slot) -> int:
    return slot.task
