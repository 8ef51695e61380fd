"""How long vLLM's engine may be silent before it is taken for frozen.

It answers between two steps, and a step that reads a long prompt takes seconds on a CPU. So what
the step at hand can be is reckoned: the prompt tokens planned, at the pace seen so far.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SILENCE_S = 7.0
"""Nothing but a long prompt's step takes so long. With the fleet's 2 s between two checks a frozen
engine is found within 10."""
MARGIN = 3.0
"""A step may take that many times of what is reckoned: later tokens of a prompt see more before
them, and other processes take the processor."""
_REMEMBERED = 8
_TICK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an engine is at, as the front sees it."""

    running: int
    """Requests that have not ended."""
    unread_tokens: int
    """Prompt tokens of those that have no token yet."""
    step_tokens: int
    """As many as one step can take."""
    s_per_token: float | None
    """The slowest that a prompt was read lately; None: none was yet, and the first steps may
    compile kernels for minutes."""
    answer_s: float
    """The longest that a check waited lately."""


def patience_s(work: Work, timeout_s: float) -> float:
    """`timeout_s` where nobody waits for a token, or where nothing is known of the steps."""
    if not work.running or work.s_per_token is None:
        return timeout_s
    planned = min(work.unread_tokens, work.step_tokens)
    step_s = max(planned * work.s_per_token, work.answer_s)
    return min(timeout_s, max(SILENCE_S, MARGIN * step_s))


class Pace:
    """Of one engine: how long its prompts and checks took, and which prompts are still unread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: set[str] = set()
        self._unread: dict[str, tuple[int, float | None]] = {}
        """Prompt tokens; since when, for one that waited behind no other."""
        self._s_per_token: deque[float] = deque(maxlen=_REMEMBERED)
        self._answers_s: deque[float] = deque(maxlen=_REMEMBERED)

    def submitted(self, request_id: str, prompt_tokens: int) -> None:
        began = None if self._unread else self._clock()
        self._running.add(request_id)
        self._unread[request_id] = (prompt_tokens, began)

    def has_token(self, request_id: str, cached_tokens: int) -> None:
        """Its prompt is read; only the first call counts."""
        tokens, began = self._unread.pop(request_id, (0, None))
        if began is not None and tokens > cached_tokens:
            self._s_per_token.append((self._clock() - began) / (tokens - cached_tokens))

    def ended(self, request_id: str) -> None:
        self._running.discard(request_id)
        self._unread.pop(request_id, None)

    def answered(self, seconds: float) -> None:
        """A check was answered after so long."""
        self._answers_s.append(seconds)

    def work(self, step_tokens: int) -> Work:
        return Work(
            running=len(self._running),
            unread_tokens=sum(tokens for tokens, _ in self._unread.values()),
            step_tokens=step_tokens,
            s_per_token=max(self._s_per_token, default=None),
            answer_s=max(self._answers_s, default=0.0),
        )


async def is_answered(
    asked: "asyncio.Future[Any]",
    count_tokens: Callable[[], int],
    patience_s: float,
    timeout_s: float,
) -> bool:
    """Whether `asked` is done before `patience_s` passed without a token, or `timeout_s` at all.
    Time in which this loop itself stood still is nobody's silence: a tick counts as one."""
    silent_s = waited_s = 0.0
    tokens = count_tokens()
    while silent_s < patience_s and waited_s < timeout_s:
        done, _ = await asyncio.wait({asked}, timeout=_TICK_S)
        if done:
            return True
        waited_s, silent_s = waited_s + _TICK_S, silent_s + _TICK_S
        if count_tokens() != tokens:
            tokens, silent_s = count_tokens(), 0.0
    return False
