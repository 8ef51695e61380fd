"""llama.cpp's server in a process of its own, spoken to over its own HTTP listener: its loads and
ends keep nobody's interpreter, and its memory goes with it. Everything here blocks."""

import contextlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from engines.base import EngineDead
from engines.host.child_job import REPOSITORY
from engines.llamacpp.http_client import connection_to
from engines.llamacpp.token_reader import Rest, TakesRest
from engines.llamacpp.wire import LAST

OnChunk: TypeAlias = Callable[[bytes], bool]
_MODULE = "engines.llamacpp.server_child"
_PARENT = "FJORD_PARENT_PID"
_MOST_BYTES = 1 << 16


class ServerProcess:
    """As xllamacpp's Server, once it has loaded. Nobody holds it any more: it ends."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        """`asked`: path, args, trained_tokens, task, adapters, projector, folder, as its child
        reads them."""
        self.key = key = secrets.token_urlsafe(32)
        """Its listener asks for it."""
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._asked_for = {**asked, "key": key}
        self._child = _popen()
        self.listening_address = ""
        self.has_card = False
        self._end = weakref.finalize(self, _end, self._child)

    def load(self) -> None:
        """Raises RuntimeError where it cannot, or was ended meanwhile."""
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(OSError):
            child.stdin.write(json.dumps(self._asked_for).encode() + b"\n")
            child.stdin.flush()
        line = child.stdout.readline()
        told = json.loads(line) if line.endswith(b"\n") else {}
        if "address" not in told:
            raise RuntimeError(told.get("failed") or f"its process ended ({child.wait()})")
        self.listening_address = str(told["address"])
        self.has_card = bool(told.get("has_card"))

    @property
    def pid(self) -> int:
        return self._child.pid

    def kill(self) -> None:
        """Whatever it does; whoever asks it something has EngineDead, who loads it RuntimeError."""
        self._child.kill()

    def close(self) -> None:
        """Returns when it is gone. Idempotent."""
        self._end()

    def handle_metrics(self) -> bytes:
        """Its loop has answered."""
        return self._whole("GET", "/metrics", None)

    def handle_embeddings(self, body: bytes) -> bytes:
        return self._whole("POST", "/v1/embeddings", body)

    def handle_rerank(self, body: bytes) -> bytes:
        return self._whole("POST", "/v1/rerank", body)

    def handle_completions(
        self, body: bytes, on_chunk: OnChunk, takes_rest: TakesRest = lambda rest: False
    ) -> None:
        """Each chunk's JSON, or a refusal's; True ends the call, which returns once its slot is
        free. It also returns once somebody takes the rest: asked between chunks, and given what
        makes it."""
        with self._asked("POST", "/completion", body) as (sock, response):
            if response.status != 200:
                on_chunk(response.read())
                return
            rest, is_whole = Rest(sock), False
            while piece := response.fp.read1(_MOST_BYTES):
                for data in rest.events.feed(piece):
                    is_whole = is_whole or LAST in data
                    if on_chunk(data):
                        _leave(sock, response)
                        return
                if rest.events.is_ended:
                    break
                if not is_whole and takes_rest(lambda: Rest(_taken(sock), rest.events)):
                    return
            if not is_whole:
                raise EngineDead("llama.cpp's answer ends in the middle.")

    def _whole(self, method: str, path: str, body: bytes | None) -> bytes:
        with self._asked(method, path, body) as (_, response):
            return response.read()

    @contextlib.contextmanager
    def _asked(
        self, method: str, path: str, body: bytes | None
    ) -> Iterator[tuple[socket.socket, http.client.HTTPResponse]]:
        connection = connection_to(self.listening_address, None)
        try:
            with contextlib.closing(connection):
                connection.request(method, path, body, self._headers)
                sock = connection.sock
                yield sock, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise EngineDead(f"llama.cpp does not answer {path}: {error!r}") from error


def _leave(sock: socket.socket, response: http.client.HTTPResponse) -> None:
    """It sees its client gone, and ends."""
    sock.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        while response.fp.read1(_MOST_BYTES):
            pass


def _taken(sock: socket.socket) -> socket.socket:
    """Whoever closes the old one closes nothing."""
    kind = sock.family, sock.type, sock.proto
    return socket.socket(*kind, fileno=sock.detach())


def _popen() -> "subprocess.Popen[bytes]":
    paths = [REPOSITORY, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A terminal's Ctrl-C is the server's, which drains. No session of its own: a group that
        # loses its parent within one is woken and hung up by the kernel, so that also a frozen
        # child ends with a killed server.
        process_group=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), _PARENT: str(os.getpid())},
    )


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
