"""Every step's outputs on their way to the streams: short where possible, merged under load.

Handing a token over is what costs the front (30 of 40 µs are the write and the wake-up), so with
many streams the tokens of several steps go together. A stream's first token and its last never
wait, no token waits longer than DELAY_S, and none waits for a companion that would come too late.
Nobody waits for the tokens of a whole answer: they go together after HOLD_S, or at its end.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engines.vllm_lane import Lane

DELAY_S = 0.048
"""The longest a token may wait for its companions."""
HOLD_S = 0.25
"""The longest that a whole answer's tokens go uncounted."""
FEW_STREAMS = 8
"""Up to so many streams every token goes at once."""
IDLE_S = 1.0
"""Without an output for so long, no step was running."""
_SMOOTHING = 0.25


class Merger:
    """Stands before one AsyncLLM's output processor, whose `process_outputs(outputs, …)` vLLM calls
    with every step's outputs: one a request, each with `request_id`, `new_token_ids` and
    `finish_reason`. Belongs to the event loop."""

    def __init__(
        self,
        processor: Any,
        delay_s: float = DELAY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._delay_s = delay_s
        self._clock = clock
        self._process = processor.process_outputs
        self._abort = processor.abort_requests
        self._propagate_error = processor.propagate_error
        self._streams = processor.request_states
        self._lanes: dict[str, Lane] = {}
        self._waiting: list[Lane] = []
        self._oldest = 0.0
        self._held: list[Lane] = []
        self._held_since = 0.0
        self._how: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        self._timer: asyncio.TimerHandle | None = None
        self._last_stamp: tuple[Any, ...] = ()
        self._stepped_at = 0.0
        self._step_s = 0.0
        processor.process_outputs = self.process_outputs
        processor.abort_requests = self.abort_requests
        processor.propagate_error = self.propagate_error

    def begin(self, request_id: str, lane: Lane) -> None:
        """A request that was just added may go short."""
        self._lanes[request_id] = lane

    def stop(self) -> None:
        """Hand over what waits, and nothing more."""
        self.flush()
        self._lanes.clear()

    def process_outputs(self, outputs: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """In vLLM's place; returns what vLLM's own returns."""
        now = self._clock()
        self._how = (args, kwargs)
        self._note_step(now, args)
        merges = len(self._streams) > FEW_STREAMS and self._step_s < self._delay_s
        if not merges:
            self._flush_waiting()
        due = self._due(outputs, merges)
        done = self._process(due, *args, **kwargs)
        self._note_processed(due)
        if self._waiting:
            self._schedule(now)
        if self._held and now - self._held_since > HOLD_S:
            self._flush_held()
        return done

    def abort_requests(self, request_ids: Iterable[str], *args: Any, **kwargs: Any) -> Any:
        """In vLLM's place: what was generated is counted before its request ends."""
        self.flush()
        ended = self._abort(request_ids, *args, **kwargs)
        for request_id in ended:
            self._lanes.pop(request_id, None)
        return ended

    def propagate_error(self, error: Exception) -> Any:
        """In vLLM's place: what a dying engine generated is counted before its requests end."""
        self.flush()
        return self._propagate_error(error)

    def flush(self) -> None:
        """Hand over everything that waits."""
        self._flush_waiting()
        self._flush_held()

    def _flush_waiting(self) -> None:
        self._end_wait()
        if self._waiting:
            lanes, self._waiting = self._waiting, []
            self._hand_over(lanes)

    def _flush_held(self) -> None:
        if self._held:
            lanes, self._held = self._held, []
            self._hand_over(lanes)

    def _end_wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hand_over(self, lanes: Iterable[Lane]) -> None:
        due = []
        for lane in lanes:
            output, lane.waiting = lane.waiting, None
            if output is None:
                continue  # its last output took it along
            if lane.is_open():
                lane.give(output.new_token_ids)
            else:
                due.append(output)
        if due:
            args, kwargs = self._how
            self._process(due, *args, **kwargs)

    def _due(self, outputs: Sequence[Any], merges: bool) -> list[Any]:
        """Those that vLLM's own processor must handle now."""
        due = []
        for output in outputs:
            lane = self._lanes.get(output.request_id)
            if lane is None or not lane.is_begun:
                due.append(output)
            elif output.finish_reason is not None:
                if lane.waiting is not None:
                    output.new_token_ids = lane.waiting.new_token_ids + output.new_token_ids
                    lane.waiting = None
                due.append(output)
            elif lane.waiting is not None:
                lane.waiting.new_token_ids += output.new_token_ids
            elif lane.is_whole or merges:
                lane.waiting = output
                self._wait(lane)
            elif lane.is_open():
                lane.give(output.new_token_ids)
            else:
                due.append(output)
        return due

    def _wait(self, lane: Lane) -> None:
        if not lane.is_whole:
            self._waiting.append(lane)
            return
        if not self._held:
            self._held_since = self._stepped_at
        self._held.append(lane)

    def _note_processed(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            lane = self._lanes.get(output.request_id)
            if lane is None:
                continue
            lane.is_begun = True
            if output.finish_reason is not None:
                del self._lanes[output.request_id]

    def _schedule(self, now: float) -> None:
        """Hand over now where the next step would come too late, else after the longest wait."""
        if self._timer is None:
            self._oldest = now
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._delay_s, self._flush_waiting)
        if now + self._step_s > self._oldest + self._delay_s:
            self._flush_waiting()

    def _note_step(self, now: float, args: tuple[Any, ...]) -> None:
        """How long a step takes: vLLM gives a large one in slices, with the same time stamp."""
        if args[:1] == self._last_stamp:
            return
        self._last_stamp = args[:1]
        step_s = now - self._stepped_at
        self._stepped_at = now
        if step_s < IDLE_S:
            self._step_s += _SMOOTHING * (step_s - self._step_s)
