"""A request whose content is kept: answered over an exchange that is copied, and says so."""

from typing import Protocol

from server.api.content.recorder import HEADER, ContentRecorder
from server.errors import OtherForm
from server.http.asgi import Receive, Send
from server.http.exchange import Exchange
from server.ledger.records import Caller


class _Kept(Protocol):
    @property
    def recorder(self) -> ContentRecorder: ...


class _Answering(Protocol):
    """An endpoint."""

    method: str
    form: OtherForm | None

    @property
    def services(self) -> _Kept: ...

    async def answer(self, exchange: Exchange, caller: Caller) -> None: ...


async def answer_copied(
    endpoint: _Answering, exchange: Exchange, caller: Caller, receive: Receive, send: Send
) -> Exchange:
    """The exchange that was answered. What only asks (GET) says nothing of anybody."""
    recorder = endpoint.services.recorder
    mode = recorder.mode(caller) if endpoint.method == "POST" else None
    if mode is None:
        await endpoint.answer(exchange, caller)
        return exchange
    recording, receive, send = recorder.begin(mode, exchange.scope, receive, send)
    copied = Exchange(exchange.scope, receive, send, exchange.request_id)
    if endpoint.form is not None:
        copied.answer_in(endpoint.form)
    copied.headers.append((HEADER, mode.encode()))
    try:
        await endpoint.answer(copied, caller)
    finally:
        recorder.end(recording, mode, copied, caller)
    return copied
