"""One thread that reads the answers of all calls whose prompts are read. A thread for each would be
woken for each token, and they would wait for each other's turns at the interpreter."""

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from engines.base import EngineDead
from engines.llamacpp.chunked_events import ChunkedEvents
from engines.llamacpp.task import Item, Task
from engines.llamacpp.wire import DECODER, Chunk

FEW_STREAMS = 4
"""Up to so many each token goes at once."""
GATHER_S = 0.005
"""Of more, so long: llama.cpp draws a step's tokens one after the other, each in half a millisecond
where the vocabulary is large, and sends each at once."""
_MOST_BYTES = 1 << 14


@dataclass(slots=True)
class Rest:
    """Of an answer of llama.cpp's; its owner closes the socket."""

    sock: socket.socket
    events: ChunkedEvents = field(default_factory=ChunkedEvents)


TakesRest: TypeAlias = Callable[[Callable[[], Rest]], bool]
"""Asked whether it reads on, and given what makes the rest."""


@dataclass(slots=True, eq=False)
class Followed:
    """A call from its first token on."""

    task: Task
    rest: Rest
    ends: Callable[[Sequence[Chunk]], bool]
    """Sees what came; True: nobody wants more, and the call is over once its slot is free."""
    is_left: bool = False


class TokenReader:
    """`put_all` has, after each look at what is there, all of it: chunks, and at a call's end what
    failed, or None. Any thread may `follow`."""

    def __init__(self, put_all: Callable[[Sequence[tuple[Task, Item]]], None]) -> None:
        self._put_all = put_all
        self._new: deque[Followed] = deque()
        self._found: list[tuple[Task, Item]] = []
        self._is_closed = False
        self._selector = selectors.DefaultSelector()
        self._waked, self._waker = socket.socketpair()
        self._selector.register(self._waked, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="llama-reader", daemon=True)
        self._thread.start()

    def follow(self, followed: Followed) -> None:
        self._new.append(followed)
        self._wake()

    def close(self) -> None:
        """Blocks until it has told the end of everything. Idempotent."""
        self._is_closed = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        with suppress(OSError):  # it has ended
            self._waker.send(b"\0")

    def _run(self) -> None:
        while not self._is_closed:
            for key, _ in self._ready():
                if key.data is None:
                    self._waked.recv(_MOST_BYTES)
                    self._begin()
                else:
                    self._look(key.data)
            self._tell()
        self._end_all()
        self._tell()

    def _ready(self) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._selector.select()
        if len(self._selector.get_map()) <= 1 + FEW_STREAMS:
            return ready
        time.sleep(GATHER_S)
        return self._selector.select(0)

    def _tell(self) -> None:
        found, self._found = self._found, []
        if found:
            self._put_all(found)

    def _begin(self) -> None:
        while self._new:
            followed = self._new.popleft()
            followed.rest.sock.setblocking(False)
            self._selector.register(followed.rest.sock, selectors.EVENT_READ, followed)

    def _look(self, followed: Followed) -> None:
        rest = followed.rest
        try:
            data = rest.sock.recv(_MOST_BYTES)
            if (found := rest.events.feed(data)) and not followed.is_left:
                self._take(followed, [DECODER.decode(each) for each in found])
        except (BlockingIOError, InterruptedError):
            return
        except Exception as error:
            self._end(followed, EngineDead(f"llama.cpp's answer breaks off: {error!r}"))
            return
        if rest.events.is_ended or (followed.is_left and not data):
            self._end(followed, None)
        elif not data:
            self._end(followed, EngineDead("llama.cpp's answer ends in the middle."))

    def _take(self, followed: Followed, chunks: list[Chunk]) -> None:
        if followed.ends(chunks):
            followed.is_left = True
            with suppress(OSError):
                followed.rest.sock.shutdown(socket.SHUT_WR)  # it sees its client gone, and ends
        else:
            self._found.append((followed.task, chunks))

    def _end(self, followed: Followed, error: BaseException | None) -> None:
        self._selector.unregister(followed.rest.sock)
        followed.rest.sock.close()
        self._found.append((followed.task, error))

    def _end_all(self) -> None:
        self._begin()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._end(key.data, EngineDead("The engine was stopped."))
        self._selector.close()
        self._waked.close()
        self._waker.close()
