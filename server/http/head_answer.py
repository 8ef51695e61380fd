"""HEAD: what GET answers, without the body; a stream is not begun for nobody."""

import asyncio
from contextlib import suppress

from server.http.asgi import App, Message, Receive, Scope, Send


async def answer_head(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """`scope`: of a HEAD. The server itself leaves out the body of what is no stream."""
    has_begun = asyncio.Event()

    async def heading(message: Message) -> None:
        if has_begun.is_set():
            return
        if message["type"] == "http.response.body" and message.get("more_body"):
            has_begun.set()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    answering = asyncio.ensure_future(app({**scope, "method": "GET"}, receive, heading))
    begun = asyncio.ensure_future(has_begun.wait())
    try:
        await asyncio.wait([answering, begun], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
        with suppress(asyncio.CancelledError):
            await answering
    finally:
        begun.cancel()
        answering.cancel()
