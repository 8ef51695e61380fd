"""TCP keep-alive of clients."""

import asyncio
from typing import Final

from engines.host import tcp

_OPTIONS: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A client that is gone is noticed after two minutes; the second name is macOS's for the first."""


def keep_alive(transport: asyncio.Transport) -> None:
    tcp.keep_alive(transport, _OPTIONS)
