"""A link of two machines that have one secret: bounded messages over TCP, each with its proof.

Both say a number that is used once; each proves by it that it has the secret, which is never sent.
Every message after that carries a proof of its place and content: nobody between the two can
change, repeat or add one. What is said can be read on the way: it holds no secret.
"""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import socket
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engines.probing.channel import ProbeFailed

MOST_BYTES: Final = 256 * 1024
"""Of one message."""
HELLO_S: Final = 10.0
"""For the whole of a hello."""
SEND_S: Final = 10.0
CLOSE_S: Final = 2.0
_MAGIC: Final = b"fjord-probe-1\n"
_NONCE, _PROOF = 32, 32


class ProbeLink:
    """One end of it; one message at a time each way. Raises ProbeFailed once it is broken."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        key: bytes,
        *,
        is_head: bool,
    ) -> None:
        self._reader, self._writer, self._key = reader, writer, key
        self._own, self._others = (b"h", b"n") if is_head else (b"n", b"h")
        self._sent = self._heard = 0

    @property
    def own_address(self) -> str:
        return str(self._writer.get_extra_info("sockname")[0])

    @property
    def peer_address(self) -> str:
        return str(self._writer.get_extra_info("peername")[0])

    async def send(self, message: Mapping[str, Any]) -> None:
        payload = msgspec.json.encode(message)
        if len(payload) > MOST_BYTES:
            raise ProbeFailed(f"a message of {len(payload)} bytes, more than {MOST_BYTES}")
        proof = self._proof(self._own, self._sent, payload)
        self._sent += 1
        try:
            self._writer.write(len(payload).to_bytes(4, "big") + proof + payload)
            async with asyncio.timeout(SEND_S):
                await self._writer.drain()
        except (OSError, TimeoutError):
            raise ProbeFailed("its link is broken") from None

    async def receive(self) -> dict[str, Any]:
        """Waits as long as its caller lets it."""
        try:
            head = await self._reader.readexactly(4 + _PROOF)
            size = int.from_bytes(head[:4], "big")
            if size > MOST_BYTES:
                raise ProbeFailed(f"it sent more than {MOST_BYTES} bytes at once")
            payload = await self._reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError):
            raise ProbeFailed("its link ended") from None
        if not hmac.compare_digest(head[4:], self._proof(self._others, self._heard, payload)):
            raise ProbeFailed("somebody changed what it said")
        self._heard += 1
        return _message(payload)

    def _proof(self, side: bytes, count: int, payload: bytes) -> bytes:
        return _hmac(self._key, side + count.to_bytes(8, "big") + payload)

    async def close(self) -> None:
        """What was sent arrives first, where the other takes it."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._writer.wait_closed()
        self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()


def _message(payload: bytes) -> dict[str, Any]:
    try:
        read = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise ProbeFailed("it sent what is no message")
    return read


class LinkChannel:
    """The head's end: one question at a time; one without an answer ends the link."""

    def __init__(self, link: ProbeLink) -> None:
        self._link = link
        self._turn = asyncio.Lock()
        self._broken = ""

    @property
    def is_broken(self) -> bool:
        """Nothing can be asked any more."""
        return bool(self._broken)

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        async with self._turn:
            if self._broken:
                raise ProbeFailed(self._broken)
            try:
                async with asyncio.timeout(timeout_s + 2.0):
                    await self._link.send(
                        {"task": task, "arguments": dict(arguments), "timeout_s": timeout_s}
                    )
                    answer = await self._link.receive()
            except (ProbeFailed, TimeoutError, asyncio.CancelledError) as error:
                self._broken = str(error) or f"no answer within {timeout_s:g} s"
                self._link.abort()
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise ProbeFailed(self._broken) from None
        result = answer.get("result")
        if not isinstance(result, dict):
            raise ProbeFailed(str(answer.get("failed", "it sent what is no answer"))[:200])
        return result


async def greeted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str, *, is_head: bool
) -> ProbeLink:
    """Both prove that they have the secret. Raises ProbeFailed."""
    own = secrets.token_bytes(_NONCE)
    try:
        async with asyncio.timeout(HELLO_S):
            writer.write(_MAGIC + own)
            if await reader.readexactly(len(_MAGIC)) != _MAGIC:
                raise ProbeFailed("no Fjord of this version speaks there")
            other = await reader.readexactly(_NONCE)
            nonces = own + other if is_head else other + own
            return await _proved(reader, writer, secret.encode(), nonces, is_head=is_head)
    except TimeoutError:
        raise ProbeFailed(f"it says nothing within {HELLO_S:g} s") from None
    except (OSError, asyncio.IncompleteReadError):
        raise ProbeFailed("it ended the link: has it the same node token?") from None


async def _proved(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    secret: bytes,
    nonces: bytes,
    *,
    is_head: bool,
) -> ProbeLink:
    """The node first: a head proves nothing to whoever asks."""
    of_node, of_head = (_hmac(secret, side + nonces) for side in (b"node", b"head"))
    own, others = (of_head, of_node) if is_head else (of_node, of_head)
    if not is_head:
        writer.write(own)
    if not hmac.compare_digest(await reader.readexactly(_PROOF), others):
        raise ProbeFailed("it has another node token")
    if is_head:
        writer.write(own)
    _keep_alive(writer)
    return ProbeLink(reader, writer, _hmac(secret, b"link" + nonces), is_head=is_head)


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """A machine that is gone without a word is noticed within 20 s."""
    found: socket.socket = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
