"""Requests byte by byte, over a socket of one's own."""

import contextlib
import json
import socket
import time

from tests.support.serving import Served

CHAT = "/v1/chat/completions"
ASK = {"model": "m", "messages": [{"role": "user", "content": "a b c"}]}


def connected(server: Served) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def request(server: Served, *lines: str, path: str = CHAT, version: str = "1.1") -> bytes:
    """The head of a request."""
    head = [f"POST {path} HTTP/{version}", "Host: x", f"X-API-Key: {server.key}", *lines, "", ""]
    return "\r\n".join(head).encode()


def body(**fields: object) -> bytes:
    return json.dumps(ASK | fields).encode()


def read_all(client: socket.socket) -> bytes:
    """What comes until the server closes; a reset is an end, too."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            answer += piece
    return answer


def ask(server: Served, *pieces: bytes) -> bytes:
    """The answer to what is sent piece by piece, on a connection that ends with it."""
    with connected(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.05 if len(pieces) > 1 else 0)  # else the kernel joins them
        return read_all(client)


def half_closed(server: Served, *sent: bytes) -> bytes:
    """What comes to a client that sends this, ends its own side and reads on."""
    with connected(server) as client:
        for piece in sent:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def chat(server: Served, path: str = CHAT, version: str = "1.1", **fields: object) -> bytes:
    content = body(**fields)
    head = request(server, f"Content-Length: {len(content)}", path=path, version=version)
    return head + content
