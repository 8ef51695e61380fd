"""What a service manager hears."""

import socket


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))
        self._socket.settimeout(60)

    def hears(self, but: str = "WATCHDOG=1") -> list[str]:
        """The next message's lines that are not only `but`."""
        while (lines := self._socket.recv(4096).decode().split("\n")) == [but]:
            pass
        return lines

    def is_silent_for(self, seconds: float) -> bool:
        """After what it said before."""
        self._socket.settimeout(seconds)
        try:
            for _ in range(20):
                self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(60)
        return False

    def close(self) -> None:
        self._socket.close()
