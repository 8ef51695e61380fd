"""The memory as an endpoint asks it: off the event loop, its refusals as a client hears them."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from engines.host.worker_threads import WorkerThreads
from server.errors import ApiError, brief
from server.memory.conversations import ConversationFull
from server.memory.errors import MemoryFull, MemoryTrouble, NotKept, TooLong, TooManyOpen

P = ParamSpec("P")
T = TypeVar("T")
RETRY_S = 30.0
_THREADS = WorkerThreads(8, "memory")
"""Of its own: where a database does not answer, nobody else's files wait for a thread."""


async def asked(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Raises ApiError: 404 for what is not kept, also for another owner's."""
    try:
        return await _THREADS(work, *args, **kwargs)
    except (MemoryTrouble, MemoryFull, ConversationFull, NotKept, TooLong, TooManyOpen) as error:
        raise refusal(error) from None


def refusal(error: Exception) -> ApiError:
    match error:
        case NotKept():
            return ApiError(404, "NOT_FOUND", f"There is no {brief(error.what)!r} kept here.")
        case MemoryFull():
            return ApiError(413, "REQUEST_TOO_LARGE", str(error), param="store")
        case ConversationFull():
            return ApiError.invalid(str(error), "conversation", None, "another conversation")
        case TooManyOpen():
            return ApiError.retry(429, "CONCURRENCY_LIMIT_EXCEEDED", str(error), 30)
        case TooLong():
            what = f"What is kept of this conversation is too long: right would be {error}."
            return ApiError.invalid(what, "previous_response_id", None, str(error))
        case _:
            return ApiError.retry(503, "OVERLOADED", str(error), RETRY_S)


def unknown_previous(response_id: str) -> ApiError:
    """As OpenAI has it: its clients look for the code."""
    shown: Any = brief(response_id)
    message = f"Previous response with id '{shown}' not found."
    return ApiError(400, "previous_response_not_found", message, param="previous_response_id")
