"""Standard input, output and error as the commands need them: there, and able to say anything."""

import io
import os
import sys


def complete_streams() -> None:
    """Where a shell closed one (`>&-`) the null device is there: else the next file to be opened,
    the ledger, is what a library's words go into. A character that the terminal's encoding lacks
    becomes a question mark."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        _opened(number)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _opened(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
