"""The one thread that reads answers on from their first token, and the events in their bytes."""

import queue
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from engines.base import EngineDead
from engines.llamacpp import token_reader
from engines.llamacpp.chunked_events import ChunkedEvents
from engines.llamacpp.task import Item, Task
from engines.llamacpp.token_reader import FEW_STREAMS, Followed, Rest, TokenReader
from engines.llamacpp.wire import Chunk

END = b"0\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def token(text: str, number: int) -> bytes:
    told = {"index": 0, "content": text, "tokens_predicted": number}
    return http_chunk(b"data: " + msgspec.json.encode(told) + b"\n\n")


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_events_are_whole_however_their_bytes_come(size: int) -> None:
    events = [b'{"a":"\\r\\n\\n"}', b"{}", b'{"b":"' + b"x" * 300 + b'"}']
    raw = b"".join(http_chunk(b"data: " + each + b"\n\n") for each in events)
    raw += http_chunk(b": nothing\n\n") + http_chunk(b"data: half") + http_chunk(b" and half\n\n")
    stream, found = ChunkedEvents(), list[bytes]()
    for begin in range(0, len(raw), size):
        found += stream.feed(raw[begin : begin + size])
    assert found == [*events, b"half and half"]
    assert not stream.is_ended
    assert stream.feed(END + b"of no concern") == []
    assert stream.is_ended


def test_bytes_that_are_no_chunks_are_an_error() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        ChunkedEvents().feed(b"data: {}\r\n")


class Heard:
    """What a reader has put, a look at a time."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.looks: queue.Queue[Sequence[tuple[Task, Item]]] = queue.Queue()
        self.reader = TokenReader(lambda items: self.looks.put(list(items)))

    def next(self) -> list[tuple[Task, Any]]:
        return [(task, _plain(item)) for task, item in self.looks.get(timeout=20)]


def _plain(item: Item) -> Any:
    return [chunk.text for chunk in item] if isinstance(item, list) else item


@contextmanager
def reading() -> Iterator[Heard]:
    heard = Heard()
    try:
        yield heard
    finally:
        heard.reader.close()
        for each in heard.sockets:
            each.close()


class Call:
    """One that is followed, and llama.cpp's end of it."""

    def __init__(self, heard: Heard) -> None:
        self.there, here = socket.socketpair()
        self.there.settimeout(20)
        heard.sockets.append(self.there)
        self.task = Task(
            fields={},
            slots=1,
            cells=1,
            first_index=0,
            priority=0,
            is_whole=False,
            unread_tokens=1,
        )
        heard.reader.follow(Followed(self.task, Rest(here), self._ends))

    def _ends(self, chunks: Sequence[Chunk]) -> bool:
        return self.task.is_cancelled


def test_chunks_come_in_order_with_the_end_behind_them() -> None:
    with reading() as heard:
        call = Call(heard)
        call.there.sendall(token("a", 1))
        assert heard.next() == [(call.task, ["a"])]
        call.there.sendall(token("b", 2) + token("c", 3) + END)
        assert heard.next() == [(call.task, ["b", "c"]), (call.task, None)]
        assert call.there.recv(1) == b"", "its socket is closed"


def test_a_call_that_nobody_wants_ends_when_llamacpp_has_let_go() -> None:
    with reading() as heard:
        call, other = Call(heard), Call(heard)
        call.task.is_cancelled = True
        call.there.sendall(token("a", 1))
        assert call.there.recv(1) == b"", "it hears that its client is gone"
        call.there.sendall(token("b", 2))
        other.there.sendall(token("x", 1))
        assert heard.next() == [(other.task, ["x"])], "nothing of the other, and no end yet"
        call.there.close()
        assert heard.next() == [(call.task, None)]


def test_of_many_streams_what_comes_soon_after_is_told_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_reader, "GATHER_S", 1.0)
    with reading() as heard:
        calls = [Call(heard) for _ in range(FEW_STREAMS + 1)]
        for call in calls:
            call.there.sendall(token("a", 1))
        told, looks = 0, 0
        while told < len(calls):
            told, looks = told + len(heard.next()), looks + 1
        assert looks < len(calls)


def test_of_few_streams_each_token_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_reader, "GATHER_S", 3600.0)
    with reading() as heard:
        for call in [Call(heard) for _ in range(FEW_STREAMS)]:
            call.there.sendall(token("a", 1))
            assert heard.next() == [(call.task, ["a"])]


@pytest.mark.parametrize("broken", [b"", b"zz\r\n", http_chunk(b"data: no JSON\n\n")])
def test_what_breaks_ends_its_own_call_alone(broken: bytes) -> None:
    with reading() as heard:
        call, other = Call(heard), Call(heard)
        call.there.sendall(token("a", 1))
        assert heard.next() == [(call.task, ["a"])]
        call.there.sendall(broken)
        call.there.shutdown(socket.SHUT_WR)
        [(task, error)] = heard.next()
        assert (task, type(error)) == (call.task, EngineDead)
        other.there.sendall(token("x", 1))
        assert heard.next() == [(other.task, ["x"])]


def test_a_stopped_reader_tells_everybody_the_end() -> None:
    with reading() as heard:
        calls = [Call(heard) for _ in range(3)]
        heard.reader.close()
        ended = {id(task): type(error) for task, error in heard.next()}
        assert ended == {id(call.task): EngineDead for call in calls}
        heard.reader.close()
