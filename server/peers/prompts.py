"""Prompts that a node has made, until they are generated or nobody here wants them any more."""

from engines.base import GenerateRequest
from server.peers.client import PeerClient
from server.peers.stream import PeerStream


class HeldPrompt:
    """What a node keeps for a few seconds, or generates already; it lets it go as soon as nobody
    here has it."""

    __slots__ = ("_client", "_handle", "_stream", "request")

    def __init__(
        self, handle: str, request: GenerateRequest, client: PeerClient, stream: PeerStream
    ) -> None:
        """`handle` "": it generates it, for `stream`."""
        self._handle, self._client = handle, client
        self._stream: PeerStream | None = stream
        if handle:
            stream.forget()
            self._stream = None
        self.request = request
        """It makes it again."""

    def taken(self) -> str:
        """Its handle, to be generated; "": it is to be made again."""
        handle, self._handle = self._handle, ""
        return handle

    def going(self, request: GenerateRequest) -> PeerStream | None:
        """Where it is generated already as `request` asks for, the priority aside: a node has an
        order of its own. What is asked for otherwise is aborted."""
        stream, self._stream = self._stream, None
        if stream is not None and request.sampling != self.request.sampling:
            stream.close()
            return None
        return stream

    def __del__(self) -> None:
        if self._handle:
            self._client.let_go(self._handle)
        if self._stream is not None:
            self._stream.leave()
