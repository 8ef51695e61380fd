"""Waits for an engine to die or hang, whether it is awake or asleep."""

import asyncio

from engines.base import Engine


async def end_of(engine: Engine, interval_s: float, timeout_s: float) -> str:
    """Why, once it did; asked every `interval_s`, and given `timeout_s` for its answer."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            await engine.check(timeout_s)
        except Exception as error:
            return str(error) or repr(error)
