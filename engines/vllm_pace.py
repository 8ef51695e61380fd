"""How many tokens a stream gets at once: one while few streams run, more when each costs the front.

vLLM hands a request's tokens over every `stream_interval` tokens, the first and the last at once.
Handing over is what costs (an object, a wake-up, a write: 15 of 23 µs a token at 64 streams on two
cores), so with many streams it is done less often, but no token ever waits longer than DELAY_S.
"""

import asyncio
import time
from typing import Any

DELAY_S = 0.045
"""The longest a token may wait for its companions."""
FEW_STREAMS = 8
"""Up to so many streams every token goes out at once."""
LONGEST = 16
_EVERY_S = 0.2


def interval_for(streams: int, tokens_per_s: float) -> int:
    """Tokens to hand over at once, so that the first of them waits at most DELAY_S."""
    if streams <= FEW_STREAMS or tokens_per_s <= 0:
        return 1
    gap_s = streams / tokens_per_s
    return min(LONGEST, 1 + int(DELAY_S / gap_s))


class Pace:
    """Sets the interval of an AsyncLLM's running requests five times a second."""

    def __init__(self, llm: Any) -> None:
        self._processor = llm.output_processor
        self._task = asyncio.create_task(self._run(), name="pace")
        self.interval = 1

    def stop(self) -> None:
        """Leave the requests as they are."""
        self._task.cancel()

    async def _run(self) -> None:
        before: dict[str, int] = {}
        then = time.monotonic()
        while True:
            await asyncio.sleep(_EVERY_S)
            states = self._processor.request_states
            counts = {
                name: state.detokenizer.num_output_tokens()
                for name, state in states.items()
                if state.detokenizer is not None and not state.is_prefilling
            }
            now = time.monotonic()
            tokens = sum(count - before.get(name, 0) for name, count in counts.items())
            self.interval = interval_for(len(counts), tokens / (now - then))
            before, then = counts, now
            for name, count in counts.items():
                set_interval(states[name], count, self.interval)


def set_interval(state: Any, count: int, interval: int) -> None:
    """Change one request's interval. vLLM keeps `sent_tokens_offset` only while the interval is
    above 1: going there it must be set, and going back it must have nothing left unsent."""
    if state.stream_interval == interval:
        return
    if state.stream_interval <= 1:
        state.sent_tokens_offset = count
    elif interval == 1 and state.sent_tokens_offset != count:
        interval = 2  # the next look finds it at a hand-over
    state.stream_interval = interval
