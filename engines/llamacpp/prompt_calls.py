"""One task's calls of llama.cpp: its prompt in pieces where it is long, and then the call itself.

A piece is the beginning of the prompt up to some token, with one token drawn that nobody sees: it
leaves its keys and values in its slot, where the next call finds them. The next call names the
slot and is sent while the piece is read, so that llama.cpp begins it as soon as the slot is free:
nobody else gets the slot, or the cells of its cache, in between.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from engines.base import EngineError
from engines.llamacpp.recent_prompts import RecentPrompts
from engines.llamacpp.task import Item, Task
from engines.llamacpp.token_reader import Followed, Rest, TakesRest
from engines.llamacpp.wire import DECODER, LAST_FIELDS, Chunk, PromptProgress

HELD_CHUNKS = 64
"""A whole answer's chunks cross to the loop that many at a time."""

MOST_PIECES = 512
"""Of a prompt: each names all that is read before it."""
MOST_CORRECTIONS = 3
"""A cache that so often holds less than it should is not relied on: the rest goes in one call."""
MOST_ROOM_TRIES = 4
EVERY_CELL = 2**62

OnChunk: TypeAlias = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all tasks' calls are made with; every part may be called by any thread."""

    complete: Callable[[bytes, OnChunk, TakesRest], object]
    """llama.cpp's handle_completions: blocks; its chunks' callback ends the call by True."""
    find_slot: Callable[[int], int | None]
    """The id of the slot that reads the prompt of the call with that seed."""
    submit: Callable[[Callable[[], None]], object]
    """Run in another thread; RuntimeError once the engine is stopped."""
    put: Callable[[Task, Item], None]
    follow: Callable[[Followed], None]
    """Reads on, and puts what comes."""
    piece_tokens: Callable[[], int]
    """Of a piece, now."""
    step_tokens: int
    recent: RecentPrompts
    make_room: Callable[[int], None]
    """So many free cells of the cache, for a prompt with pictures."""


class PromptCalls:
    """`run_next` blocks. It puts the chunks of the last call, "read" when its prompt is read, and
    its end; nothing of the pieces."""

    def __init__(self, task: Task, means: Means) -> None:
        self.task = task
        self.means = means
        self.slot: int | None = None
        self._total = len(task.prompt)
        self._in_cache = self._total - task.unread_tokens
        """So much of the prompt the calls up to now leave in the cache, if all is as it seems."""
        self._corrections = 0
        self._room_tries = 1
        if task.pictures is not None:  # a piece of it would be tokens alone
            self.read_on()

    def run_next(self) -> None:
        _Call(self, self._next_end()).run()

    def is_last(self, end: int) -> bool:
        return end == self._total

    def payload(self, end: int, seed: int) -> bytes:
        """Of the call that reads the prompt up to token `end`."""
        fields = self._whole() if self.is_last(end) else self._piece(end, seed)
        if self.slot is not None:
            fields = fields | {"id_slot": self.slot}
        return msgspec.json.encode(fields | {"cache_prompt": self._may_find()})

    def _may_find(self) -> bool:
        """Whether the next call goes on from what a slot holds; not the first one's, for sure,
        from what the last has read."""
        has_read = self.task.cached_tokens is not None
        if self.task.reads_anew:
            return has_read and self.slot is not None
        return has_read or bool(self.task.fields["cache_prompt"])

    def takes(self, end: int, progress: PromptProgress) -> bool:
        """False where the cache holds so little that the call up to `end` reads far more than a
        piece. llama.cpp ends it after one step: what that reads is in the cache too."""
        if progress.total != end:  # billed is what was counted
            counted = f"llama.cpp reads {progress.total} tokens where {end} were counted"
            raise EngineError(f"{counted}.")
        before = self.task.cached_tokens
        self.task.cached_tokens = progress.cache if before is None else min(before, progress.cache)
        allowed = self.means.step_tokens + self.means.piece_tokens()
        if end - progress.cache > allowed and self._corrections < MOST_CORRECTIONS:
            self._corrections += 1
            self._in_cache, self.slot = progress.cache + self.means.step_tokens, None
            return False
        self._in_cache = end
        return True

    def read_on(self) -> None:
        """The rest in one call."""
        self._corrections = MOST_CORRECTIONS

    def remember(self, last_chunk: Chunk) -> None:
        """What is in the cache from now on: before anybody hears of the answer's end, since the
        chat's next turn may come at once."""
        self.means.recent.add(self.task.prompt, last_chunk.predicted, self.task.adapter)

    def finish(self, end: BaseException | None) -> None:
        self.means.put(self.task, end)

    def _next_end(self) -> int:
        piece = max(self.means.piece_tokens(), self._total // MOST_PIECES)
        left = self._total - self._in_cache
        if self._corrections >= MOST_CORRECTIONS or left <= piece + piece // 4:
            return self._total
        return self._in_cache + piece

    def _whole(self) -> dict[str, Any]:
        fields, pictures = self.task.fields, self.task.pictures
        if pictures is None:
            return fields
        self.means.make_room(self.task.cells if self._room_tries == 1 else EVERY_CELL)
        return fields | {"prompt": pictures.field()}

    def try_again(self) -> None:
        """A picture found no room: others took what was made for it. Raises EngineError."""
        self._room_tries += 1
        if self._room_tries > MOST_ROOM_TRIES:
            raise EngineError("llama.cpp could not read the pictures.")

    def _piece(self, end: int, seed: int) -> dict[str, Any]:
        fields = self.task.fields
        return {
            "prompt": self.task.prompt[:end],
            **({"lora": fields["lora"]} if "lora" in fields else {}),
            "max_tokens": 1,
            "samplers": [],
            "seed": seed,
            "stream": True,
            "return_progress": True,
            "response_fields": LAST_FIELDS,
        }


class _Call:
    """One call, up to token `end` of the prompt."""

    def __init__(self, calls: PromptCalls, end: int) -> None:
        self._calls = calls
        self._task = calls.task
        self._put = calls.means.put
        self._end = end
        self._is_last = calls.is_last(end)
        self._seed = secrets.randbits(31)
        self._has_begun = self._is_read = self._is_left = False
        self._has_successor = self._is_followed = False
        """The next call is sent; is to be sent when this one has ended."""
        self._held: list[Chunk] = []

    def run(self) -> None:
        error: BaseException | None = None
        try:
            payload = self._calls.payload(self._end, self._seed)
            self._calls.means.complete(payload, self._on_chunk, self._leaves)
        except BaseException as failure:
            error = failure
        if self._is_left or self._has_successor:
            return  # to who tells the end, also of what failed here
        if self._is_followed and error is None and not self._task.is_cancelled:
            self._calls.run_next()
            return
        if self._held:
            self._put(self._task, self._held)
        self._calls.finish(error)

    def _on_chunk(self, chunk: bytes) -> bool:
        if self._task.is_cancelled:
            return True
        if self._has_begun:
            return self._is_last and self._pass_on(DECODER.decode(chunk))
        self._has_begun = True
        return self._begin(DECODER.decode(chunk))

    def _leaves(self, rest: Callable[[], Rest]) -> bool:
        """An answer whose tokens somebody waits for, from its first one on."""
        self._is_left = self._is_read and self._is_last and not self._task.is_whole
        if self._is_left:
            self._calls.means.follow(Followed(self._task, rest(), self._ends))
        return self._is_left

    def _ends(self, chunks: Sequence[Chunk]) -> bool:
        """True ends the call."""
        if self._task.is_cancelled:
            return True
        for chunk in chunks:
            if chunk.is_last:
                self._calls.remember(chunk)
        return False

    def _begin(self, chunk: Chunk) -> bool:
        progress = chunk.prompt_progress
        if progress is None:  # refused
            self._put(self._task, chunk)
            return False
        if not self._calls.takes(self._end, progress):
            self._is_followed = True
            return True
        if not self._is_last:
            self._send_next()
        return False

    def _send_next(self) -> None:
        calls = self._calls
        if calls.slot is None:
            with suppress(Exception):
                calls.slot = calls.means.find_slot(self._seed)
        if calls.slot is None:
            calls.read_on()
            self._is_followed = True
            return
        with suppress(RuntimeError):  # the engine is stopped
            calls.means.submit(calls.run_next)
            self._has_successor = True

    def _begin_again(self) -> bool:
        self._calls.try_again()
        self._is_followed = True
        return True

    def _pass_on(self, chunk: Chunk) -> bool:
        """True ends the call."""
        if not self._is_read:
            if chunk.prompt_progress is not None:
                return False
            if chunk.error is not None and self._task.pictures is not None:
                return self._begin_again()
            self._is_read = True
            self._put(self._task, "read")
        if chunk.is_last:
            self._calls.remember(chunk)
        if not self._task.is_whole:
            self._put(self._task, chunk)
            return False
        self._held.append(chunk)
        if len(self._held) == HELD_CHUNKS:
            self._put(self._task, self._held.copy())
            self._held.clear()
        return False
