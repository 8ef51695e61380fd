"""Ctrl-C while an answer comes: heard at the next piece, also where Python lost its exception."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")


class Interrupts:
    """Python drops a KeyboardInterrupt that comes within a finalizer or a callback of its
    collector: it is only printed there. This one is remembered."""

    def __init__(self) -> None:
        self._has_come = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """In the main thread alone: no other is interrupted."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._come)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _come(self, number: int, frame: FrameType | None) -> None:
        self._has_come = True
        raise KeyboardInterrupt

    def between(self, pieces: Iterator[T]) -> Iterator[T]:
        """Raises KeyboardInterrupt before the piece that follows one."""
        for piece in pieces:
            if self._has_come:
                raise KeyboardInterrupt
            yield piece
