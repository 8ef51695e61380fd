"""Whose prompt is read next: decided from what waits and what is read alone, without a clock.

llama.cpp fills a step of n_batch tokens with the prompts of its slots in order of id, and a slot
takes all it can: 32 tokens in a higher slot wait until 2,000 in a lower one are read. So a long
prompt goes to it in pieces. Half of each step is for the pieces of long prompts, the other half
for short ones, which go as they are: neither can hold up the other, whatever their slots.

Large forms of short prompts begin one at a time: llama.cpp compiles each between two steps, and
eight of them that came together kept every stream waiting for 150 ms. Those of long prompts are
compiled at the end of their reading, two at a time at most.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from engines.llamacpp.task import Task

LARGE_FORM_CHARACTERS = 4096
"""It compiles in about 1 ms, of 60,000 in 20."""

STREAMS_STEP_TOKENS = 64
"""Streams and long prompts together: for fewer a CPU reads its weights as long."""
LEAST_TOKENS = 32
"""Beside 64 streams a step takes an eighth more."""

Lane: TypeAlias = Literal["first", "shortest", "short"]
"""Two long prompts are read at a time: whoever is first in line, so that nobody starves, and the
shortest, so that 200 tokens do not wait for 8,000."""


@dataclass(frozen=True, slots=True)
class Turn:
    task: Task
    lane: Lane


class ReadingTurns:
    """`step_tokens`: n_batch. Ask with `ready` who may begin; tell it with `begin` and `end`, and
    of those that stream with `streams` and `streamed`."""

    def __init__(self, step_tokens: int, long_prompt_tokens: int | None = None) -> None:
        """`long_prompt_tokens`: of long prompts in a step beside streams; None: by the number of
        streams, and so much for each long prompt that waits or is read."""
        self.share_tokens = max(1, step_tokens // 2)
        """Of a step: for the pieces of long prompts together, and for short prompts together."""
        self._lanes: dict[Task, Lane] = {}
        self._longs = 0
        self._beside_streams = long_prompt_tokens
        self._streams: set[Task] = set()
        self._sequences = 0
        self._longs_behind = 0

    def ready(self, waiting: Sequence[Task]) -> list[Turn]:
        """Those whose prompts may be read now, in the order of `waiting`."""
        lanes = self._next_longs(waiting)
        room = self._room() if lanes or self._longs else None
        has_form_begun = any(map(_has_large_form, self._shorts()))
        for task in waiting:
            if self._is_long(task):
                continue
            if has_form_begun and _has_large_form(task):
                continue
            if room is not None:
                if task.unread_tokens > room and room < self.share_tokens:
                    break  # in their order: none behind it overtakes
                room -= task.unread_tokens
            lanes[task] = "short"
        return [Turn(task, lanes[task]) for task in waiting if task in lanes]

    def begin(self, turn: Turn) -> None:
        self._lanes[turn.task] = turn.lane
        self._longs += turn.lane != "short"

    def end(self, task: Task) -> None:
        """Its prompt is read, or nobody wants it any more. Idempotent."""
        lane = self._lanes.pop(task, "short")
        self._longs -= lane != "short"

    def piece_tokens(self) -> int:
        """How much of a long prompt goes into one call now; any thread may ask."""
        return max(1, self._longs_share() // max(1, self._longs))

    def streams(self, task: Task) -> None:
        """Its prompt is read, and somebody waits for each token."""
        self._streams.add(task)
        self._sequences += task.slots

    def streamed(self, task: Task) -> None:
        """Idempotent."""
        if task in self._streams:
            self._streams.discard(task)
            self._sequences -= task.slots

    def _longs_share(self) -> int:
        if not self._sequences:
            return self.share_tokens
        by_number = max(LEAST_TOKENS, STREAMS_STEP_TOKENS - self._sequences)
        by_number *= max(1, self._longs + self._longs_behind)
        return min(self.share_tokens, self._beside_streams or by_number)

    def _is_long(self, task: Task) -> bool:
        return task.unread_tokens > self.share_tokens

    def _room(self) -> int:
        """For short prompts beside a long one. Where none of them is read it is a whole share, and
        then the next may go whatever its length."""
        return self.share_tokens - sum(task.unread_tokens for task in self._shorts())

    def _shorts(self) -> Iterator[Task]:
        return (task for task, lane in self._lanes.items() if lane == "short")

    def _next_longs(self, waiting: Sequence[Task]) -> dict[Task, Lane]:
        taken = set(self._lanes.values())
        longs = [task for task in waiting if self._is_long(task)]
        self._longs_behind = len(longs)
        lanes: dict[Task, Lane] = {}
        if longs and "first" not in taken:
            lanes[longs.pop(0)] = "first"
        if longs and "shortest" not in taken:
            lanes[min(longs, key=lambda t: (t.priority, t.unread_tokens))] = "shortest"
        return lanes


def _has_large_form(task: Task) -> bool:
    return task.form_characters > LARGE_FORM_CHARACTERS
