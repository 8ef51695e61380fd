"""The rule by which tokens wait for each other in a busy engine.

A stream's first token and its last never wait, no token waits longer than DELAY_S for companions,
and none waits for a step that would end too late.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

DELAY_S = 0.048
"""The longest a token may wait for its companions."""
FEW_STREAMS = 8
"""Up to so many requests every token goes at once."""
IDLE_S = 1.0
"""Without an output for so long, no step was running."""
_SMOOTHING = 0.25
_BESIDE_A_TOKEN = ("new_sampling_mask", "routed_experts", "pooling_output")
"""What an output may hold of each of its tokens, beside log probabilities; not every vLLM's."""


class TokenBatching:
    """One engine's waiting outputs. Each has `request_id`, `new_token_ids` and `finish_reason`."""

    def __init__(
        self, delay_s: float = DELAY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._delay_s = delay_s
        self._clock = clock
        self._waiting: dict[int, dict[str, Any]] = {}
        self._oldest = 0.0
        self._ended_at = 0.0
        self._step_s = 0.0
        self._step_tokens = 0.0
        self._running: list[int] = []

    def begins(self, tokens: int) -> None:
        """A step over so many tokens was planned."""
        self._running.append(tokens)

    def due(
        self, outputs: Mapping[int, Sequence[Any]], requests: Mapping[str, Any]
    ) -> dict[int, list[Any]]:
        """A step has ended with these outputs, by client: what each client is to be sent now.
        `requests` are those that go on. Where it raises, it has changed nothing."""
        # Everything that is read of vLLM's objects is read here, before anything changes.
        may_wait = {
            client: [_waits(output, requests) for output in some]
            for client, some in outputs.items()
        }
        now = self._clock()
        self._note_step(now)
        due = {
            client: self._split(client, some, may_wait[client]) for client, some in outputs.items()
        }
        if any(self._waiting.values()) and self._must_go(now, len(requests)):
            for client, waiting in self.release().items():
                ready = [output for name, output in waiting.items() if name in requests]
                due[client] = ready + due.get(client, [])
        return due

    def release(self) -> dict[int, dict[str, Any]]:
        """All that waits, by client and request; nothing does from now on."""
        waiting, self._waiting = self._waiting, {}
        return waiting

    def _split(self, client: int, outputs: Sequence[Any], may_wait: Sequence[bool]) -> list[Any]:
        """Those that go at once; the others wait."""
        waiting = self._waiting.setdefault(client, {})
        if not waiting and not any(self._waiting.values()):
            self._oldest = self._ended_at
        at_once = []
        for output, waits in zip(outputs, may_wait, strict=True):
            name = output.request_id
            before = waiting.get(name)
            if waits:
                if before is None:
                    waiting[name] = output
                else:
                    before.new_token_ids = before.new_token_ids + output.new_token_ids
                continue
            if before is not None:
                output.new_token_ids = before.new_token_ids + output.new_token_ids
                del waiting[name]
            at_once.append(output)
        return at_once

    def _must_go(self, now: float, requests: int) -> bool:
        if requests <= FEW_STREAMS:
            return True
        return now + self._next_step_s() > self._oldest + self._delay_s

    def _next_step_s(self) -> float:
        """A step over more tokens than usual takes longer, at most in proportion."""
        if not self._running or self._step_tokens <= 0:
            return self._step_s
        return self._step_s * max(1.0, self._running[0] / self._step_tokens)

    def _note_step(self, now: float) -> None:
        tokens = self._running.pop(0) if self._running else 0
        step_s = now - self._ended_at
        self._ended_at = now
        if step_s < IDLE_S and tokens:
            self._step_s += _SMOOTHING * (step_s - self._step_s)
            self._step_tokens += _SMOOTHING * (tokens - self._step_tokens)


def _waits(output: Any, requests: Mapping[str, Any]) -> bool:
    """A stop string is looked for at each token, and what comes beside a token would be lost."""
    request = requests.get(output.request_id)
    if request is None:
        return False
    sampling = request.sampling_params
    return (
        output.finish_reason is None
        and output.new_logprobs is None
        and not output.events
        and all(getattr(output, name, None) is None for name in _BESIDE_A_TOKEN)
        and sampling is not None
        and not sampling.stop
        and sampling.logprobs is None
        and request.num_output_tokens > len(output.new_token_ids)
    )
