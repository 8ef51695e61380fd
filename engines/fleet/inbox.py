"""What the fleet's owner is told, and when it has heard it."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from engines.base import EngineUnavailable

Tell: TypeAlias = Callable[[Callable[[], None]], None]
"""Has the owner call something, between two of its decisions."""
_HEARD_S = 5.0
"""It hears within milliseconds, unless the fleet stops."""


async def obeyed(tell: Tell, news: Callable[[], None]) -> None:
    """Returns once the owner has called `news`. Raises EngineUnavailable where the fleet stops, and
    then it is never called."""
    heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def obey() -> None:
        if not heard.done():
            news()
            heard.set_result(None)

    tell(obey)
    try:
        await asyncio.wait_for(heard, _HEARD_S)
    except TimeoutError:
        raise EngineUnavailable("The server is shutting down.") from None
