"""Questions to several machines at once, and their answers held to a form."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from engines.errors import EngineError
from engines.probing.channel import ProbedNode, ProbeFailed
from engines.probing.wire import Struct, read

T = TypeVar("T")
GRACE_S: Final = 6.0
"""A channel keeps the time itself; one that does not is left."""


async def ask(
    node: ProbedNode,
    task: str,
    question: msgspec.Struct | None,
    form: type[Struct],
    timeout_s: float,
) -> Struct:
    """Raises EngineError."""
    arguments: Mapping[str, Any] = {} if question is None else msgspec.to_builtins(question)
    try:
        async with asyncio.timeout(timeout_s + GRACE_S):
            answer = await node.channel.ask(task, arguments, timeout_s)
    except TimeoutError:
        raise ProbeFailed(f"no answer within {timeout_s:g} s") from None
    try:
        return read(answer, form)
    except ValueError as error:
        raise ProbeFailed(f"its answer has another form: {str(error)[:120]}") from None


async def of_all(
    nodes: Iterable[ProbedNode], one: Callable[[ProbedNode], Awaitable[T]]
) -> tuple[dict[str, T], dict[str, str]]:
    """By name what each said, and why others said nothing."""
    asked = list(nodes)
    said = await asyncio.gather(*(_caught(one(node)) for node in asked))
    named = dict(zip((node.name for node in asked), said, strict=True))
    failed = {name: str(each) for name, each in named.items() if isinstance(each, EngineError)}
    return {n: each for n, each in named.items() if not isinstance(each, EngineError)}, failed


async def _caught(answer: Awaitable[T]) -> T | EngineError:
    try:
        return await answer
    except EngineError as error:
        return error
