"""Names that nobody else has: unique, not secret."""

import random

_DRAWN = random.Random()
# Not `secrets`: the kernel's call lets go of the interpreter lock, and a busy event loop then waits
# for it behind every other thread (up to 70 µs a call at 256 streams).


def new_id(length: int) -> str:
    """That many hexadecimal digits, from a generator that the kernel seeds once a process."""
    return f"{_DRAWN.getrandbits(4 * length):0{length}x}"
