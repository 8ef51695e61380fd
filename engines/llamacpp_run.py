"""One request on llama.cpp: its choices' chunks in, deltas out."""

import asyncio
from collections import deque

from engines.base import (
    ContextLengthExceeded,
    Delta,
    EngineDead,
    EngineError,
    EngineOverloaded,
    FinishReason,
    GenerateRequest,
    InvalidRequest,
    TokenLogprob,
)
from engines.llamacpp_slots import Item, Slots, Task
from engines.llamacpp_wire import DECODER, Chunk, Failure

FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class Run:
    """A request under way. Lives on the event loop; its tasks' threads reach it through Outbox."""

    def __init__(self, request: GenerateRequest, prompt_tokens: int, payloads: list[bytes]) -> None:
        self._choices = [Choice(request, index) for index in range(len(payloads))]
        self._tasks: list[Task] = []
        self._arrived: deque[tuple[int, Item]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._error: EngineError | None = None
        self._payloads = payloads
        self._cells = prompt_tokens + request.sampling.max_tokens
        self._priority, self._holds = request.priority, not request.stream

    def submit(self, slots: Slots) -> None:
        for index, payload in enumerate(self._payloads):
            receive = self._receiver(index, slots)
            self._tasks.append(Task(payload, self._cells, self._priority, self._holds, receive))
        self._payloads = []
        for task in self._tasks:
            slots.submit(task)

    def cancel(self, slots: Slots) -> None:
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

    def _receiver(self, index: int, slots: Slots) -> "Receiver":
        return Receiver(self, index, slots)

    def receive(self, index: int, item: Item) -> None:
        self._arrived.append((index, item))
        self._wake()

    def task(self, index: int) -> Task:
        return self._tasks[index]

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _read(self) -> list[Delta]:
        changed: dict[int, Choice] = {}
        while self._arrived:
            index, item = self._arrived.popleft()
            choice = changed[index] = self._choices[index]
            if isinstance(item, bytes):
                choice.add(DECODER.decode(item))
            elif isinstance(item, list):
                for chunk in item:
                    choice.add(DECODER.decode(chunk))
            else:
                choice.end(item, self._tasks[index].is_cancelled)
        return [delta for choice in changed.values() if (delta := choice.take())]


class Receiver:
    """Gets one task's items on the loop, also when nobody reads the run any more."""

    def __init__(self, run: Run, index: int, slots: Slots) -> None:
        self._run, self._index, self._slots = run, index, slots

    def __call__(self, item: Item) -> None:
        task = self._run.task(self._index)
        if not isinstance(item, bytes | list) and task.is_running:
            self._slots.release(task)
        self._run.receive(self._index, item)


class Choice:
    """Folds one choice's chunks until somebody takes them as a delta."""

    def __init__(self, request: GenerateRequest, index: int) -> None:
        self._index = index
        self._top = request.sampling.logprobs
        self._counted = self._delivered = 0
        self._cached = 0
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._finish: FinishReason | None = None
        self.is_finished = False

    def add(self, chunk: Chunk) -> None:
        if chunk.error is not None:
            raise failure(chunk.error)
        if chunk.timings is not None:
            self._counted, self._cached = chunk.timings.predicted_n, chunk.timings.cache_n
        for piece in chunk.choices:
            self._texts.append(piece.text)
            if piece.logprobs is not None and self._top is not None:
                self._logprobs += [lp.public(self._top) for lp in piece.logprobs.content]
            if piece.finish_reason is not None:
                self._finish = FINISH[piece.finish_reason]

    def end(self, error: BaseException | None, is_cancelled: bool) -> None:
        """The call returned: fine after a finish_reason or a cancel, else the engine failed."""
        if error is not None:
            raise self._surprise(error) from error
        if self._finish is None:
            if not is_cancelled:
                raise EngineDead("llama.cpp ended a stream without a reason.")
            self._finish = "abort"

    def take(self) -> Delta | None:
        """None while there is nothing to tell: the prompt is read, or text is held back."""
        text = "".join(self._texts)
        if self.is_finished or not (text or self._finish or self._logprobs):
            return None
        is_first, self.is_finished = self._delivered == 0, self._finish is not None
        delta = Delta(
            index=self._index,
            text=text,
            token_count=self._counted - self._delivered,
            finish_reason=self._finish,
            cached_tokens=self._cached if is_first and self._index == 0 else 0,
            logprobs=tuple(self._logprobs),
        )
        self._delivered = self._counted
        self._texts.clear()
        self._logprobs.clear()
        return delta

    def _surprise(self, error: BaseException) -> EngineError:
        if self._counted == 0 and isinstance(error, RuntimeError | ValueError):
            return InvalidRequest(f"llama.cpp refuses this request: {error}")
        return EngineDead(f"llama.cpp failed: {error}")


def failure(error: Failure) -> EngineError:
    """By llama.cpp's own error type, never by its text."""
    if error.type == "exceed_context_size_error":
        return ContextLengthExceeded(error.n_prompt_tokens, None, error.n_ctx)
    if error.code == 400:
        return InvalidRequest(f"llama.cpp refuses this request: {error.message}")
    if error.code == 503:
        return EngineOverloaded(f"llama.cpp is busy: {error.message}")
    return EngineDead(f"llama.cpp failed: {error.message}")
