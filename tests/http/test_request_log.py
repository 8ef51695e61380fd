"""The request id and the one line a request."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from server.http.asgi import Message, Receive, Scope, Send
from server.http.log_output import logging_to
from server.http.request_log import RequestLog, line_of

pytestmark = pytest.mark.anyio


async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    """An API handler as the server has them: it writes its own headers and notes its status."""
    line = line_of(scope)
    line.status = 200
    line.note(alias="tiny", completion_tokens=3)
    headers = [(b"x-request-id", line.request_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": line.request_id.encode()})


async def page(request: Request) -> PlainTextResponse:
    if "fail" in request.query_params:
        raise ZeroDivisionError("a bug")
    return PlainTextResponse(line_of(request.scope).request_id)


class Router:
    """/v1/ goes to a raw ASGI handler, everything else to Starlette, as in the server."""

    def __init__(self) -> None:
        paths = ["/page", "/health", "/pa\nge"]
        self.pages = Starlette(routes=[Route(path, page) for path in paths])
        self.sends: list[Send] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.sends.append(send)
        await (chat if scope["path"].startswith("/v1/") else self.pages)(scope, receive, send)


async def get(path: str, **headers: str | bytes) -> httpx.Response:
    transport = httpx.ASGITransport(RequestLog(Router()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://fjord") as client:
        raw = {n.encode(): v if isinstance(v, bytes) else v.encode() for n, v in headers.items()}
        return await client.get(path, headers=raw)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def logged(path: str, stream: io.StringIO, level: str = "info", **headers: str) -> str:
    with logging_to(stream, level):
        await get(path, **headers)
    return stream.getvalue()


@pytest.mark.parametrize("path", ["/console/welcome/s3cret", "/console/welcome/s3cret/x"])
async def test_a_one_time_link_is_in_no_line(path: str) -> None:
    said = await logged(path, io.StringIO())
    assert "/console/welcome/" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("path", ["/v1/chat", "/page"])
async def test_a_sane_request_id_of_the_client_is_kept(path: str) -> None:
    answer = await get(path, **{"X-Request-Id": "trace-1:2.3_4"})
    assert answer.text == answer.headers["x-request-id"] == "trace-1:2.3_4"


@pytest.mark.parametrize("odd", ["", "a b", 'a"b', "-a", "x" * 129, "æ", "a;b"])
async def test_an_odd_request_id_is_replaced(odd: str) -> None:
    answer = await get("/v1/chat", **{"X-Request-Id": odd.encode()})
    assert answer.headers["x-request-id"].startswith("req_")


async def test_two_requests_without_an_id_get_different_ones() -> None:
    answers = [await get("/page") for _ in range(2)]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 2


async def test_one_json_line_a_request_away_from_a_terminal() -> None:
    (line,) = (await logged("/v1/chat", io.StringIO(), **{"X-Request-Id": "r1"})).splitlines()
    facts = json.loads(line)
    assert facts["time"].endswith("Z")
    assert facts["duration_ms"] >= 0
    expected = {
        "level": "info",
        "logger": "fjord.request",
        "request_id": "r1",
        "method": "GET",
        "path": "/v1/chat",
        "status": 200,
        "alias": "tiny",
        "completion_tokens": 3,
    }
    assert expected.items() <= facts.items()


async def test_one_readable_line_a_request_on_a_terminal() -> None:
    (line,) = (await logged("/v1/chat", Terminal())).splitlines()
    assert "200 GET /v1/chat" in line
    assert "alias=tiny" in line


async def test_a_path_cannot_forge_a_line_on_the_terminal() -> None:
    assert len((await logged("/pa%0Age", Terminal())).splitlines()) == 1


async def test_a_message_cannot_forge_a_line_on_the_terminal() -> None:
    with logging_to(stream := Terminal(), "debug"):
        logging.getLogger("fjord.api").debug("unknown field %s", "a\n12:00:00  200 GET /\x1b[2J")
    first, second = stream.getvalue().splitlines()
    assert second.startswith(" ")
    assert "\x1b" not in first + second


async def test_probes_are_on_the_log_at_debug_only() -> None:
    assert await logged("/health", io.StringIO()) == ""
    assert "/health" in await logged("/health", io.StringIO(), "debug")


async def test_a_bug_is_logged_with_the_request_id_and_its_trace() -> None:
    text = await logged("/page?fail", io.StringIO(), **{"X-Request-Id": "r2"})
    lines = [json.loads(line) for line in text.splitlines()]
    bug = next(line for line in lines if "exception" in line)
    assert "r2" in bug["message"]
    assert "ZeroDivisionError" in bug["exception"]
    assert lines[-1]["status"] == 500


async def test_api_requests_get_the_servers_own_send() -> None:
    """A wrapper would cost a hop per streamed chunk."""

    async def send(message: Message) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    router = Router()
    scope = {"type": "http", "method": "POST", "path": "/v1/chat", "headers": []}
    await RequestLog(router)(scope, receive, send)
    assert router.sends == [send]


class Stalled(io.StringIO):
    """A log reader that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.go.wait(60)
        return super().write(text)


async def test_a_stalled_log_reader_does_not_stall_a_request() -> None:
    stream = Stalled()
    with logging_to(stream):
        assert (await get("/page")).status_code == 200
        assert stream.getvalue() == ""
        stream.go.set()
    assert "/page" in stream.getvalue()


@pytest.fixture(autouse=True)
def restored_levels() -> Iterator[None]:
    before: Any = logging.getLogger().handlers[:], logging.getLogger("fjord").level
    yield
    assert (logging.getLogger().handlers[:], logging.getLogger("fjord").level) == before
