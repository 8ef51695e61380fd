"""One request on llama.cpp: its choices' chunks in, deltas out."""

import asyncio

from engines.base import (
    ContextLengthExceeded,
    Delta,
    EngineDead,
    EngineError,
    EngineOverloaded,
    Sink,
)
from engines.llamacpp.admission import SlotQueue
from engines.llamacpp.deltas import ChoiceReader
from engines.llamacpp.task import Item, Task
from engines.llamacpp.wire import Chunk, Failure


class Run:
    """A request under way: its calls, each for some of its choices. Lives on the event loop."""

    def __init__(
        self, tasks: list[Task], choices: list[ChoiceReader], sink: Sink | None = None
    ) -> None:
        """Between a choice's first delta and its last, `sink` has what it can take at once: to wake
        the reader for a token costs as much as the token."""
        self._tasks = tasks
        self._choices = choices
        self._sink = sink
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.taken_tokens = 0
        """By the sink."""

    def submit(self, slots: SlotQueue) -> None:
        for task in self._tasks:
            task.receive = self._receive
            slots.submit(task)

    def cancel(self, slots: SlotQueue) -> None:
        for task in self._tasks:
            slots.cancel(task)

    def fail(self, error: EngineError) -> None:
        self._error = error
        self._wake()

    @property
    def is_finished(self) -> bool:
        return all(choice.is_finished for choice in self._choices)

    async def deltas(self) -> list[Delta]:
        """What arrived since the last call, merged to one delta a choice; waits for something."""
        while True:
            if found := [delta for choice in self._choices if (delta := choice.take())]:
                return found
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _receive(self, task: Task, item: Item) -> None:
        if self._error is not None:
            return
        try:
            self._read(task, item)
        except Exception as error:
            self._error = error
        if self._error is not None or not self._is_taken():
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _is_taken(self) -> bool:
        """Whether nothing is left for the reader."""
        sink = self._sink
        for choice in self._choices:
            if not choice.has_news:
                continue
            if sink is None or not choice.is_under_way or not sink.is_ready():
                return False
            if (delta := choice.take()) is not None:
                self.taken_tokens += delta.token_count
                sink.take(delta)
        return True

    def _read(self, task: Task, item: Item) -> None:
        if isinstance(item, Chunk):
            self._add(task, item)
        elif isinstance(item, list):
            for chunk in item:
                self._add(task, chunk)
        elif not isinstance(item, str):
            self._end(task, item)

    def _add(self, task: Task, chunk: Chunk) -> None:
        if chunk.error is not None:
            raise failure(chunk.error)
        choice = self._choices[task.first_index + chunk.index]
        choice.cached_tokens = task.cached_tokens or 0
        choice.add(chunk)

    def _end(self, task: Task, error: BaseException | None) -> None:
        """The call returned: fine after every finish_reason or a cancel, else the engine failed."""
        if error is not None:
            raise self._surprise(error) from error
        own = self._choices[task.first_index : task.first_index + task.slots]
        unfinished = [choice for choice in own if choice.finish_reason is None]
        if unfinished and not task.is_cancelled:
            raise EngineDead("llama.cpp ended a stream without a reason.")
        for choice in unfinished:
            choice.abort()

    def _surprise(self, error: BaseException) -> EngineError:
        """What llama.cpp throws while it reads a request reaches Python as a RuntimeError. We wrote
        that request, so it is no fault of the client's; the engine itself goes on."""
        if isinstance(error, EngineError):
            return error
        has_begun = any(choice.has_begun for choice in self._choices)
        if isinstance(error, RuntimeError | ValueError) and not has_begun:
            return EngineError(f"llama.cpp cannot run this request: {error}")
        return EngineDead(f"llama.cpp failed: {error}")


def failure(error: Failure) -> EngineError:
    """By llama.cpp's own error type, never by its text. Its 400s are ours: requests were checked
    before, and memory that runs out is one of them too."""
    if error.type == "exceed_context_size_error":
        return ContextLengthExceeded(error.n_prompt_tokens, None, error.n_ctx)
    if error.code == 400:
        return EngineError(f"llama.cpp cannot run this request: {error.message}")
    if error.code == 503:
        return EngineOverloaded(f"llama.cpp is busy: {error.message}")
    return EngineDead(f"llama.cpp failed: {error.message}")
