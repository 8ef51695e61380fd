"""How a machine is asked: by a link of any kind, or in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from engines.errors import EngineError

ProbeTask: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Arguments -> a result, both as JSON has them. Raises ValueError for arguments that are wrong."""
OTHER_FJORD: Final = "it does not know this probe: install the same Fjord on all"


class ProbeFailed(EngineError):
    """A machine was not asked, or did not answer; the words say why."""


class ProbeChannel(Protocol):
    """To one machine."""

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """What its task of that name answers. Raises EngineError."""
        ...


@dataclass(frozen=True, slots=True)
class ProbedNode:
    """One of the machines."""

    name: str
    channel: ProbeChannel
    address: str = ""
    """By which its link came; "": it came by none."""
    is_joined: bool = False
    """Fjord has its engines speak by that address."""


class OwnChannel:
    """This machine's own tasks."""

    def __init__(self, tasks: Mapping[str, ProbeTask]) -> None:
        self._tasks = tasks

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        return await answered(self._tasks, task, arguments, timeout_s)


async def answered(
    tasks: Mapping[str, ProbeTask], task: str, arguments: Mapping[str, Any], timeout_s: float
) -> Mapping[str, Any]:
    """Raises ProbeFailed, whatever goes wrong."""
    if task not in tasks:
        raise ProbeFailed(OTHER_FJORD)
    try:
        async with asyncio.timeout(timeout_s):
            return await tasks[task](arguments)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {timeout_s:g} s") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ProbeFailed(str(error)[:200] or type(error).__name__) from None
