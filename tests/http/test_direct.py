"""A stream past ASGI's `send`: which fields of uvicorn's it needs, and that it can do without."""

import ast
import inspect
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from server.http import direct
from server.http.direct import CYCLE_FIELDS, FLOW_FIELDS, missing_fields
from tests.support.paths import TESTS
from tests.support.serve_process import serving, with_registry

BODY = (
    b'{"model":"tiny","stream":true,"messages":[{"role":"user","content":"a b c d e f"}],'
    b'"stream_options":{"include_usage":true}}'
)
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: r1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n"
)
WARNING = r"uvicorn \S+ has no ([a-z0-9_, ]+): streams take its documented way"


def attributes_of(owner: str) -> set[str]:
    """What direct.py reads or writes of something that it calls `owner`."""
    nodes = ast.walk(ast.parse(inspect.getsource(direct)))
    return {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == owner
    }


def test_every_field_of_uvicorns_is_on_the_list() -> None:
    assert attributes_of("cycle") | attributes_of("_cycle") == CYCLE_FIELDS
    assert attributes_of("flow") | attributes_of("_flow") == FLOW_FIELDS


def test_this_uvicorn_has_them_all() -> None:
    assert missing_fields() == frozenset()


def streamed(url: str) -> bytes:
    """The bytes of a stream, without what differs between any two."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(HEAD % len(BODY) + BODY)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    answer = re.sub(rb"(date|x-ratelimit-reset): [^\r]+", rb"\1: then", answer)
    return re.sub(rb'"(id|created)":("[^"]+"|[0-9]+)', rb'"\1":0', answer)


def served_with(home: Path, renamed: str) -> tuple[bytes, list[str]]:
    """What a stream is on such a server, and what its warning names."""
    home.mkdir()
    with_registry(home)
    child = [sys.executable, "-P", str(TESTS / "support/renamed_field_child.py"), renamed]
    with serving(home, "--no-auth", command=child) as server:
        answer = streamed(server.url())
        server.ends(signal.SIGINT)
        rest = iter(server.lines.get, "")
        return answer, re.findall(WARNING, "".join([*server.said, *rest]))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    answer, named = served_with(tmp_path_factory.mktemp("usual") / "home", "none")
    assert named == []
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CYCLE_FIELDS | FLOW_FIELDS))
def test_a_stream_is_the_same_where_uvicorn_renamed_a_field(
    name: str, usual: bytes, tmp_path: Path
) -> None:
    answer, named = served_with(tmp_path / "home", name)
    assert len(named) == 1, "one warning"
    assert name in named[0]
    assert answer == usual
