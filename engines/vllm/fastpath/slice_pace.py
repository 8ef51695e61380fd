"""How many tokens of long prompts a step may hold, by what steps have taken."""

import time
from collections import deque
from collections.abc import Callable

LEAST_TOKENS, FIRST_TOKENS = 16, 128
A_PROMPT = 0.5
"""Each long prompt that waits may lengthen a step by so much of what one without prompts takes,
whatever the limit is: a large model's would stand still, and where most requests are long prompts
each stream would wait for the next in line."""
FRESH_S, FRESH_STEPS = 1.0, 20
"""What a step without prompts takes is known for so long; then the next one is one."""
_SMOOTHING = 0.2
_SLOWEST, _FASTEST = 0.5, 1.5
"""By how much one step changes the size: one that the machine held up is no new pace."""
_LEAST_S = 1e-4


class SlicePace:
    """Of one engine. Steps end in the order in which they were planned."""

    def __init__(
        self, limit_s: float, most_tokens: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`limit_s`: what a step with prompts should take."""
        self._limit_s, self._most_tokens, self._clock = limit_s, most_tokens, clock
        self._planned: deque[tuple[float, int, int]] = deque()
        self._ended_at = 0.0
        self._base_s = 0.0
        """Of a step without prompts."""
        self._measured_at = -float("inf")
        self.waiting = 1
        """Long prompts that are not read yet."""
        self._tokens = float(min(FIRST_TOKENS, most_tokens))

    @property
    def tokens(self) -> int:
        return int(self._tokens)

    def is_due(self) -> bool:
        """Whether the next step should be one without prompts, to see what it takes."""
        now = self._clock()
        if now - self._measured_at < max(FRESH_S, FRESH_STEPS * self._base_s):
            return False
        self._measured_at = now
        return True

    def begins(self, tokens: int, prompt_tokens: int) -> None:
        """A step over `tokens` was planned, `prompt_tokens` of them of prompts."""
        self._planned.append((self._clock(), tokens, prompt_tokens))

    def ended(self) -> None:
        if not self._planned:
            return
        began, tokens, prompt_tokens = self._planned.popleft()
        now = self._clock()
        took_s, self._ended_at = now - max(began, self._ended_at), now
        if prompt_tokens:
            self._fit(took_s, prompt_tokens)
        elif tokens:
            self._measured_at = now
            if self._base_s:
                took_s = min(took_s, _FASTEST * self._base_s)
            self._base_s += (took_s - self._base_s) * (_SMOOTHING if self._base_s else 1.0)

    def _fit(self, took_s: float, prompt_tokens: int) -> None:
        if 2 * prompt_tokens < self._tokens:
            return  # a prompt's last piece says little
        longer_s = A_PROMPT * max(1, self.waiting) * self._base_s
        for_prompts_s = max(self._limit_s - self._base_s, longer_s)
        wanted = prompt_tokens * for_prompts_s / max(_LEAST_S, took_s - self._base_s)
        wanted = min(_FASTEST * self._tokens, max(_SLOWEST * self._tokens, wanted))
        self._tokens = min(float(self._most_tokens), max(float(LEAST_TOKENS), wanted))
