"""A server for `fjord run` where none is running: started on a free port, ended with the chat."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

import httpx

from server.cli.chat.client import ChatFailed
from server.cli.link import Link

POLL_S = 0.05
END_S = 10.0
_FOR_OTHERS = frozenset(
    f"FJORD_{name}" for name in ("HOST", "UDS", "TLS_CERT", "TLS_KEY", "OPS_PORT", "OPS_HOST")
)


def is_up(server: Link | str) -> bool:
    """Whether a server of ours answers there."""
    try:
        with Link.to(server).client(timeout=1.0) as http:
            response = http.get("/health")
        return response.status_code == httpx.codes.OK and response.json().get("status") == "ok"
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def own_server(arguments: Sequence[str] = (), timeout_s: float = 600.0) -> Iterator[str]:
    """`fjord serve --no-auth <arguments>` on loopback; yields its base URL once it is ready."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "server", "serve", "--no-auth", "--port", str(port)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        # A session of its own: Ctrl-C in the chat stops an answer, not the server.
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=_environment(),
        )
        try:
            _await_ready(process, url, said, timeout_s)
            yield url
        finally:
            _end(process)


def _environment() -> dict[str, str]:
    """Without what a server for others listens on."""
    return {name: value for name, value in os.environ.items() if name not in _FOR_OTHERS}


def _await_ready(
    process: "subprocess.Popen[bytes]", url: str, said: IO[str], timeout_s: float
) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if process.poll() is not None:
            said.seek(0)
            raise ChatFailed(f"The server did not start: {_reason(said, process.returncode)}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready", timeout=1.0).status_code == httpx.codes.OK:
                return
        time.sleep(POLL_S)
    raise ChatFailed(f"The server was not ready within {timeout_s:g} s.")


def _reason(said: IO[str], status: int) -> str:
    """Its refusals, or its last words."""
    lines = said.read().strip().splitlines()
    refusals = [line.removeprefix("fjord: ") for line in lines if line.startswith("fjord: ")]
    return "; ".join(refusals or lines[-1:]) or f"exit status {status}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
