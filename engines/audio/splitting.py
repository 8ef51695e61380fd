"""Where a long recording is cut: at the quietest place of a piece's last second."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from engines.host.interpreter_turns import give_way
from engines.speech import BYTES_A_SAMPLE, SAMPLE_RATE

LONGEST_S: Final = 30
"""What Whisper hears at once."""
_LOOKED_AT: Final = SAMPLE_RATE
_STEP: Final = SAMPLE_RATE // 100
_QUIET_STEPS: Final = 10
"""A tenth of a second must be quiet, not a moment between two waves."""


def pieces(samples: memoryview) -> Iterator[memoryview]:
    """In order; together they are all of it, in the same memory. Blocks: about a millisecond a
    piece."""
    heard = samples.cast("h")
    longest = LONGEST_S * SAMPLE_RATE
    begin = 0
    while len(heard) - begin > longest:
        end = _quietest(heard, begin + longest - _LOOKED_AT, begin + longest)
        yield samples[begin * BYTES_A_SAMPLE : end * BYTES_A_SAMPLE]
        begin = end
        give_way()
    yield samples[begin * BYTES_A_SAMPLE :]


def _quietest(heard: "memoryview[int]", begin: int, end: int) -> int:
    """The middle of the quietest tenth of a second."""
    energies = [
        sum(sample * sample for sample in heard[at : at + _STEP]) for at in range(begin, end, _STEP)
    ]
    sums = [0, *accumulate(energies)]
    windows = range(len(energies) - _QUIET_STEPS + 1)
    quietest = min(windows, key=lambda at: sums[at + _QUIET_STEPS] - sums[at])
    return begin + (quietest + _QUIET_STEPS // 2) * _STEP
