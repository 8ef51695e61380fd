"""What a node does when its head asks: named tasks, each bounded in time, a few at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from engines.errors import EngineError
from engines.joined.wire import BadMessage, Cancel, TaskAnswer, TaskAsked, line_of_message, plain

Task: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Arguments -> a result, both as JSON has them. Raises EngineError, ValueError, TypeError, KeyError
or OSError, whose words its head gets."""

MOST_AT_ONCE: Final = 16
_MOST_WORDS = 1500

log = logging.getLogger("fjord.node")


class TaskRunner:
    """Belongs to the event loop. `send` gets each answer."""

    def __init__(self, tasks: Mapping[str, Task], send: Callable[[TaskAnswer], None]) -> None:
        self._tasks, self._send = tasks, send
        self._running: dict[int, asyncio.Task[None]] = {}

    def asked(self, ask: TaskAsked) -> None:
        if len(self._running) >= MOST_AT_ONCE:
            self._send(TaskAnswer(id=ask.id, error=f"{MOST_AT_ONCE} tasks run here already"))
        elif ask.task not in self._tasks:
            self._send(TaskAnswer(id=ask.id, error=f"no task here is called {ask.task}"))
        elif ask.id not in self._running:
            task = asyncio.create_task(self._answer(ask), name=f"task {ask.task}")
            self._running[ask.id] = task
            task.add_done_callback(lambda _: self._running.pop(ask.id, None))

    def cancelled(self, cancel: Cancel) -> None:
        if (task := self._running.get(cancel.id)) is not None:
            task.cancel()

    async def stop(self) -> None:
        """End all that run."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _answer(self, ask: TaskAsked) -> None:
        try:
            async with asyncio.timeout(ask.timeout_s):
                answer = TaskAnswer(
                    id=ask.id, result=plain(await self._tasks[ask.task](ask.arguments))
                )
            line_of_message(answer)
        except TimeoutError:
            answer = _failed(ask, f"{ask.task} took longer than {ask.timeout_s:g} s")
        except (EngineError, BadMessage, OSError, ValueError, TypeError, KeyError) as error:
            answer = _failed(ask, str(error) or type(error).__name__)
        except Exception as error:  # a bug: its text may hold anything
            log.exception("task %s failed", ask.task)
            answer = _failed(ask, f"{type(error).__name__}; the node's log says more")
        self._send(answer)


def _failed(ask: TaskAsked, words: str) -> TaskAnswer:
    """Words of a path that is no UTF-8 could not be sent."""
    sendable = words.encode(errors="replace").decode()
    return TaskAnswer(id=ask.id, error=sendable[:_MOST_WORDS])
