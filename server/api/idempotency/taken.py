"""What a request with a key brought: taken before anybody knows who answers it."""


class TakenBody:
    """Its body. `close` it in the end."""

    def __init__(self, body: bytes = b"") -> None:
        self.body = body
        """As the endpoint decodes it."""

    @property
    def known_by(self) -> bytes:
        """The same for the same request alone."""
        return self.body

    async def close(self) -> None:
        """Idempotent."""
