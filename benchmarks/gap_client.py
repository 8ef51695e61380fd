"""The client whose bodies are to hurt: a plain socket, so that it can also drip or leave."""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from benchmarks.gap_streams import request
from benchmarks.hostile_body import Hostile

LEAVES_AFTER_S, DRIP_S = 0.1, 3.0
ANSWER_S = 60.0


def posted(hostile: Hostile, port: int, key: Mapping[str, str]) -> str:
    """Status and code of the answer, or what came of it instead. `key`: a good key's header."""
    raw = request(
        hostile.path, hostile.body, {**hostile.headers, **(key if hostile.has_key else {})}
    )
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
            return _sent(connection, raw, hostile)
    except TimeoutError:
        return f"no answer in {ANSWER_S:g} s"
    except OSError as error:
        return f"cut: {error.strerror}"


def _sent(connection: socket.socket, raw: bytes, hostile: Hostile) -> str:
    if hostile.bytes_per_s:
        head, _, body = raw.partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\n\r\n")
        for number in range(int(DRIP_S * hostile.bytes_per_s)):
            connection.sendall(body[number : number + 1])
            time.sleep(1 / hostile.bytes_per_s)
        return "left"
    connection.sendall(raw)
    if hostile.leaves:
        time.sleep(LEAVES_AFTER_S)
        return "left"
    return _answer(connection)


def _answer(connection: socket.socket) -> str:
    said = b""
    while b"\r\n\r\n" not in said or not _is_whole(said):
        piece = connection.recv(1 << 16)
        if not piece:
            break
        said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    with suppress(ValueError, KeyError, TypeError):
        return f"{head[9:12].decode()} {json.loads(body)['error']['code']}"
    return head[9:12].decode() or "closed"


def _is_whole(said: bytes) -> bool:
    head, _, body = said.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    return length.isdigit() and len(body) >= int(length)
