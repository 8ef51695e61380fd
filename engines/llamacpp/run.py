"""One request on llama.cpp: its choices' chunks in, deltas out."""

import asyncio
from collections import deque

from engines.base import (
    ContextLengthExceeded,
    Delta,
    EngineDead,
    EngineError,
    EngineOverloaded,
)
from engines.llamacpp.admission import SlotQueue
from engines.llamacpp.deltas import ChoiceReader
from engines.llamacpp.task import Item, Task
from engines.llamacpp.wire import DECODER, Chunk, Failure


class Run:
    """A request under way: its calls, each for some of its choices. Lives on the event loop."""

    def __init__(self, tasks: list[Task], choices: list[ChoiceReader]) -> None:
        self._tasks = tasks
        self._choices = choices
        self._arrived: deque[tuple[Task, Item]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: EngineError | None = None

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
            if self._error is not None:
                raise self._error
            if self._arrived:
                return self._read()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _receive(self, task: Task, item: Item) -> None:
        self._arrived.append((task, item))
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _read(self) -> list[Delta]:
        while self._arrived:
            task, item = self._arrived.popleft()
            if isinstance(item, bytes):
                self._add(task, DECODER.decode(item))
            elif isinstance(item, list):
                for chunk in item:
                    self._add(task, DECODER.decode(chunk))
            elif not isinstance(item, str):
                self._end(task, item)
        return [delta for choice in self._choices if (delta := choice.take())]

    def _add(self, task: Task, chunk: Chunk) -> None:
        if chunk.error is not None:
            raise failure(chunk.error)
        if chunk.timings is not None and task.cached_tokens is not None:
            # the cache holds what the task's own earlier calls read, too
            chunk.timings.cache_n = min(chunk.timings.cache_n, task.cached_tokens)
        self._choices[task.first_index + chunk.index].add(chunk)

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
