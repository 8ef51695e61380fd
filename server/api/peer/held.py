"""Prompts between their rendering and their generation: the front opens its record meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

from engines.base import Engine, EngineOverloaded, GenerateRequest, Prompt
from engines.registry.spec import ModelSpec
from server.ids import new_id

KEPT_S: Final = 5.0
MOST: Final = 10_000


class Held:
    """One of them; its engine is leased for it."""

    def __init__(
        self,
        spec: ModelSpec,
        engine: Engine,
        request: GenerateRequest,
        prompt: Prompt,
        lease: AsyncExitStack,
    ) -> None:
        self.spec, self.engine, self.request, self.prompt = spec, engine, request, prompt
        self.lease = lease

    @property
    def fits(self) -> bool:
        """As it was asked for: there is a prompt, and room for the answer."""
        context = min(self.spec.context_tokens, self.engine.context_tokens)
        tokens = self.prompt.token_count
        return 0 < tokens <= context - self.request.sampling.max_tokens


class HeldPrompts:
    """By handles that nobody guesses."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Held, asyncio.TimerHandle]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._made = 0
        """Those on their way."""

    def __len__(self) -> int:
        return len(self._known)

    @contextmanager
    def made(self) -> Iterator[None]:
        """While one is on its way. Raises EngineOverloaded."""
        if len(self._known) + self._made >= MOST:
            raise EngineOverloaded("Too many prompts wait to be generated.")
        self._made += 1
        try:
            yield
        finally:
            self._made -= 1

    def keep(self, held: Held) -> str:
        handle = new_id(24)
        timer = asyncio.get_running_loop().call_later(KEPT_S, self.let_go, handle)
        self._known[handle] = (held, timer)
        return handle

    def take(self, handle: str) -> Held | None:
        """None: it waited too long, or was taken."""
        held, timer = self._known.pop(handle, (None, None))
        if timer is not None:
            timer.cancel()
        return held

    def let_go(self, handle: str) -> None:
        """Nobody will have it generated; unknown ones are ignored."""
        held = self.take(handle)
        if held is not None:
            task = asyncio.ensure_future(held.lease.aclose())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
