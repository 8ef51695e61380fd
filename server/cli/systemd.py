"""What a service manager is told: ready, reloading, stopping, alive; sd_notify(3)'s protocol.

A datagram to the socket that NOTIFY_SOCKET names; without one nothing is done. The packages that
speak it bring systemd's own library, or are these lines.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

SOCKET, WATCHDOG, WATCHDOG_OF = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class ServiceManager:
    """`address` is NOTIFY_SOCKET's; None: nobody listens. Never raises, never waits."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address and address[0] == "@" else address
        self._watchdog_s = watchdog_s

    @classmethod
    def of(cls, environment: MutableMapping[str, str] = os.environ) -> "ServiceManager":
        """Taken out of the environment: engines' processes have nothing to say."""
        address, usec = environment.pop(SOCKET, None), environment.pop(WATCHDOG, "")
        is_ours = environment.pop(WATCHDOG_OF, str(os.getpid())) == str(os.getpid())
        watchdog_s = int(usec) / 1e6 if usec.isdigit() and int(usec) and is_ours else None
        return cls(address, watchdog_s)

    def ready(self, status: str) -> None:
        self._tell("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        self._tell(f"STATUS={status}")

    def reloading(self) -> None:
        """`ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=Running answers end.")

    async def stay_alive(self) -> None:
        """Says so as often as the watchdog wants it, while the event loop runs."""
        while self._watchdog_s is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 3)

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as out:
            out.sendto("\n".join(lines).encode(), self._address)
