"""A child process that reads what strangers made: it knows no secret of its server's, and where a
decoder is turned against it, it can write nothing and compute or take memory for no long."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from typing import Final

import psutil

_KEPT: Final = frozenset(
    {
        *("PATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"),
        *("LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONDONTWRITEBYTECODE"),
    }
)
"""Of the server's environment: where programs and libraries are, and how text is written."""
_MOST_FILES: Final = 32
_PR_SET_NO_NEW_PRIVS: Final = 38


def bare_environment() -> dict[str, str]:
    """Without tokens, passwords and addresses."""
    return {name: value for name, value in os.environ.items() if name in _KEPT}


def bound_memory(most_bytes: int, *, for_good: bool = False) -> None:
    """The child's step: so much beyond what it has now."""
    limit = psutil.Process().memory_info().vms + most_bytes
    with suppress(OSError, ValueError):  # macOS
        resource.setrlimit(
            resource.RLIMIT_AS, (limit, limit if for_good else resource.RLIM_INFINITY)
        )


def confine(most_bytes: int, most_cpu_s: int) -> None:
    """The child's step, once it has imported all it needs: its memory beyond what it has now, the
    CPU time of its life, no byte to any file, few files open, no rights from a program it runs."""
    bound_memory(most_bytes, for_good=True)
    bounds = {
        resource.RLIMIT_CPU: most_cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _MOST_FILES,
    }
    for kind, most in bounds.items():
        resource.setrlimit(kind, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
