"""/admin/: the key first, then the size, on every path; nothing is parsed before both are good."""

import json
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from engines.registry.names import ModelNames
from server.accounts.principal import PRINCIPAL, Principal
from server.api.admin.gate import MOST_BODY_BYTES
from server.api.admin.router import admin_router
from server.api.admin.terms import Terms
from server.errors import ApiError
from server.http.asgi import App, Receive, Scope, Send
from server.http.request_log import RequestLog
from server.ledger.database import Database
from server.ledger.errors import LedgerUnavailable
from tests.support.serving import Served, make_key, running, scripted, serving, wait_until

PATHS = [
    ("POST", "/admin/v1/keys"),
    ("GET", "/admin/v1/keys"),
    ("PATCH", "/admin/v1/keys/x"),
    ("DELETE", "/admin/v1/keys/x"),
    ("POST", "/admin/v1/keys/x/rotate"),
    ("GET", "/admin/v1/usage"),
    ("POST", "/admin/v1/owners"),
    ("PATCH", "/admin/v1/owners/x"),
    ("POST", "/admin/v1/members"),
    ("PATCH", "/admin/v1/members/x"),
    ("PATCH", "/admin/v1/site"),
    ("GET", "/admin/v1/models"),
    ("POST", "/admin/v1/models/x/load"),
    ("POST", "/admin/v1/registry"),
    ("PUT", "/admin/v1/keys"),
    ("POST", "/admin/v1/nothing/here"),
]
MIB = 2**20


@dataclass
class Admin:
    served: Served
    key: str

    def ask(self, method: str, path: str, key: str = "", **options: Any) -> httpx.Response:
        headers = {"X-API-Key": key or self.key, "Content-Type": "application/json"}
        return httpx.request(method, self.served.url + path, headers=headers, **options)

    def head_alone(self, method: str, path: str, headers: str) -> bytes:
        """What comes back for a request whose body is never sent."""
        address = urlsplit(self.served.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: evil\r\n{headers}\r\n".encode())
            return client.recv(65536)


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    data_dir = tmp_path_factory.mktemp("data")
    key = make_key(data_dir, service="admin")
    with serving(data_dir, scripted()) as served:
        yield Admin(served, key)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_a_key_no_byte_of_a_body_is_waited_for(
    admin: Admin, method: str, path: str
) -> None:
    length = f"Content-Length: {24 * MIB}\r\nContent-Type: application/json\r\n"
    answer = admin.head_alone(method, path, length)
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    user = f"X-API-Key: {admin.served.key}\r\n"
    answer = admin.head_alone(method, path, length + user)
    assert answer.startswith(b"HTTP/1.1 403 "), answer


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_body_over_the_limit_is_refused_on_every_path(
    admin: Admin, method: str, path: str
) -> None:
    too_large = b"[" * (MOST_BODY_BYTES + 1)
    for content in (too_large, iter([too_large[:1000], too_large[1000:]])):
        answer = admin.ask(method, path, content=content)
        assert answer.status_code == 413, answer.text
        assert answer.json()["error"]["code"] == "REQUEST_TOO_LARGE"


def test_a_body_of_the_limit_is_read(admin: Admin) -> None:
    body = json.dumps({"name": "n", "owner": "us"}).encode()
    answer = admin.ask("POST", "/admin/v1/keys", content=body.ljust(MOST_BODY_BYTES))
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 12_000, b"{", b"\xff", b""])
def test_a_body_that_is_no_json_is_a_400(admin: Admin, body: bytes) -> None:
    answer = admin.ask("POST", "/admin/v1/keys", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "INVALID_PARAMETER"


@pytest.mark.parametrize(
    "path", ["/owners/a%00b", "/owners/a%00/memory", "/members/%00", "/usage?owner=a%00"]
)
def test_nul_is_part_of_no_path_or_query(admin: Admin, path: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = admin.ask(method, "/admin/v1" + path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_PARAMETER")
        assert "without NUL" in answer.text


def test_what_a_client_sent_comes_back_briefly(admin: Admin) -> None:
    long = "x" * 60_000
    for body in ({"name": [long]}, {"name": "n", "expires_at": long}, {"name": "n", long: 1}):
        answer = admin.ask("POST", "/admin/v1/keys", json=body)
        assert answer.status_code == 400
        assert len(answer.content) < 2_000
    answer = admin.ask("GET", f"/admin/v1/keys/{'x' * 20_000}")
    assert answer.status_code == 404
    assert len(answer.content) < 2_000


@pytest.mark.parametrize(
    "path", ["/admin/v1/keys/", "/admin/v1/usage/", "/admin/v1/keys/x/rotate/"]
)
def test_nothing_redirects_to_where_the_client_says_it_is(admin: Admin, path: str) -> None:
    key = f"X-API-Key: {admin.key}\r\n"
    answer = admin.head_alone("GET", "/admin/v1/" + path, key)
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert b"location:" not in answer.lower()
    assert b"evil" not in answer


def test_head_is_get_without_its_body(admin: Admin) -> None:
    for path in ("/admin/v1/keys", "/admin/v1/usage"):
        got, head = admin.ask("GET", path), admin.ask("HEAD", path)
        assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]


def test_requests_are_counted_and_the_log_line_names_the_key(
    admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    key_id = admin.key.split("_")[2]

    def named() -> set[Any]:
        lines = [r.facts for r in caplog.records if r.name == "fjord.request"]  # type: ignore[attr-defined]
        return {line.get("key") for line in lines if line["path"] == "/admin/v1/keys"}

    with caplog.at_level(logging.INFO, "fjord.request"):
        assert admin.ask("GET", "/admin/v1/keys").status_code == 200
        assert admin.ask("GET", "/admin/v1/keys", key="nobody").status_code == 401
        # An answer is there before its line: the ledger is given back first.
        wait_until(lambda: named() == {key_id, None}, "both lines")
        metrics = httpx.get(admin.served.url + "/metrics").text
    for status in (200, 401):
        label = f'alias="unknown",endpoint="admin",status="{status}"'
        assert f"fjord_requests_total{{{label}}}" in metrics


def _as_operator(app: App) -> App:
    who = Principal(kind="operator", name="operator")

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, PRINCIPAL: who}, receive, send)

    return known


async def _rendered(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(error.encoded(), error.status, error.headers, "application/json")


@pytest.mark.parametrize(
    ("fault", "status", "has_trace"),
    [
        (ZeroDivisionError("of /srv/secret"), 500, True),
        (ValueError("/srv/secret"), 500, True),
        (LedgerUnavailable("postgres://fjord:secret@db/x: no such host"), 503, False),
    ],
)
def test_a_fault_of_ours_is_logged_under_the_request_id_and_stays_inside(
    caplog: pytest.LogCaptureFixture, fault: Exception, status: int, has_trace: bool
) -> None:
    def books() -> Database:
        raise fault

    app = FastAPI()
    app.include_router(admin_router(books, Terms(lambda: ModelNames({}), "NOK")))
    app.add_exception_handler(ApiError, _rendered)
    with running(RequestLog(_as_operator(app))) as url:
        answer = httpx.get(url + "/admin/v1/keys", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == status
    assert "secret" not in answer.text
    (record,) = [r for r in caplog.records if r.name == "fjord.api"]
    assert "mine-1" in record.getMessage()
    assert str(fault) in record.getMessage()
    assert bool(record.exc_info) is has_trace
