"""What goes over the wire of one request, copied as it passes: the beginnings of both ways."""

from server.http.asgi import Message, Receive, Send


class WireCopy:
    """The first bytes of one direction."""

    __slots__ = ("content", "is_cut", "length", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.content = bytearray()
        self.length = 0
        """Of all of it."""
        self.is_cut = False

    def take(self, piece: bytes) -> None:
        self.length += len(piece)
        room = self.most - len(self.content)
        self.content += piece[:room]
        self.is_cut = self.is_cut or len(piece) > room


class ExchangeCopy:
    """Stands between an exchange and its server; a stream of it goes the way of ASGI's `send`."""

    def __init__(self, receive: Receive, send: Send, most_body: int, most_answer: int) -> None:
        self._receive = receive
        self._send = send
        self.body = WireCopy(most_body)
        self.answer = WireCopy(most_answer)
        self.status = 0
        self.content_type = b""
        """Of the answer."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.body.take(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.content_type = dict(message["headers"]).get(b"content-type", b"")
        elif message["type"] == "http.response.body":
            self.answer.take(message.get("body", b""))
        await self._send(message)
