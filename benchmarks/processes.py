"""A server's process from outside: a port for it, whether it answers, and its end."""

import http.client
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

READY_S = 400.0
STOP_S = 20.0


class DidNotStart(Exception):
    """With the end of the server's log."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_until(
    process: subprocess.Popen[bytes], port: int, path: str, began: float, log: Path
) -> float:
    while (waited := time.monotonic() - began) < READY_S:
        if process.poll() is not None:
            raise DidNotStart(f"exit status {process.returncode}; {log} ends:\n{_tail(log)}")
        if status(port, path) == 200:
            return time.monotonic() - began
        time.sleep(0.1 if waited < 5 else 0.25)
    raise DidNotStart(f"not ready after {READY_S:g} s; {log} ends:\n{_tail(log)}")


def status(port: int, path: str) -> int:
    """0: nobody is there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return log.read_bytes()[-3000:].decode(errors="replace")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, then kill what is left of the tree."""
    tree: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        tree = [root, *root.children(recursive=True)]
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    _, alive = psutil.wait_procs(tree, timeout=5)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
