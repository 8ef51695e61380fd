"""A child that is frozen (SIGSTOP) when its parent dies is woken, so that it can end by itself."""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def woken_with_parents_end() -> None:
    """Of this process, on Linux: it wakes it when the thread that started it ends, which wakes
    nobody who is awake."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
