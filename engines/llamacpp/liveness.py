"""Ask llama.cpp's own loop whether it still turns."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from engines.base import EngineDead, EngineHung


class Liveness:
    """`ask` blocks until the engine's loop has answered. At most one thread hangs in it, a daemon:
    neither repeated checks of a hung engine nor the exit of the process wait for it."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask: Callable[[], object] | None = ask
        self._asked: asyncio.Future[None] | None = None

    async def beat(self, timeout_s: float) -> None:
        if self._asked is None or self._asked.done():
            self._asked = self._start()
        try:
            await asyncio.wait_for(asyncio.shield(self._asked), timeout_s)
        except TimeoutError:
            raise EngineHung(f"llama.cpp's loop gave no answer within {timeout_s} s.") from None

    def close(self) -> None:
        """Let go of the engine."""
        self._ask = None

    def _start(self) -> asyncio.Future[None]:
        ask = self._ask
        if ask is None:
            raise EngineDead("The engine is not running.")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        answered.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

        def settle(error: Exception | None) -> None:
            if answered.cancelled():
                return
            if error is None:
                answered.set_result(None)
            else:
                answered.set_exception(EngineDead(f"llama.cpp failed: {error}"))

        def run() -> None:
            error: Exception | None = None
            try:
                ask()
            except Exception as caught:
                error = caught
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, error)

        threading.Thread(target=run, name="llama-liveness", daemon=True).start()
        return answered
