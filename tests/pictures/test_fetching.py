"""Pictures from elsewhere: from listed hosts alone, at public addresses, without redirects."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from engines.pictures.bounds import MOST_BYTES
from server.pictures import fetching
from server.pictures.fetching import FetchRefused, PictureFetcher
from server.refusal import CannotStart
from server.settings import read_settings
from tests.support.pictures import image_part, picture, user
from tests.support.serving import scripted, serving

PICTURE = picture()
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0"),
    *("fd00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"),
    "no address",
)

pytestmark = pytest.mark.anyio


class _Pictures(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, headers, body = self._answer()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> tuple[int, dict[str, str], bytes]:
        image = {"Content-Type": "image/png"}
        match self.path:
            case "/a.png":
                return 200, image, PICTURE
            case "/moved":
                return 302, {"Location": "/a.png"}, b""
            case "/text":
                return 200, {"Content-Type": "text/html"}, b"<html>"
            case "/said-large":
                return 200, image | {"Content-Length": str(MOST_BYTES + 1)}, b""
            case "/large":
                return 200, image, bytes(MOST_BYTES + 1)
            case "/packed":
                return 200, image | {"Content-Encoding": "gzip"}, PICTURE
            case _:
                return 404, image, b""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


async def refused(fetch: PictureFetcher, address: str) -> str:
    with pytest.raises(FetchRefused) as refusal:
        await fetch(address)
    assert len(str(refusal.value)) < 300
    return str(refusal.value)


async def test_a_listed_host_is_asked(port: int) -> None:
    fetch = PictureFetcher([f"127.0.0.1:{port}"])
    assert await fetch(f"http://127.0.0.1:{port}/a.png") == PICTURE
    assert await fetch(f"HTTP://127.0.0.1:{port}/a.png") == PICTURE


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("moved", "redirects are not followed"),
        ("text", "no image by its Content-Type"),
        ("said-large", "too large"),
        ("large", "too large"),
        ("packed", "compressed"),
        ("none", "status 404"),
    ],
)
async def test_what_its_host_answers_is_held_to_a_picture(port: int, path: str, said: str) -> None:
    fetch = PictureFetcher([f"127.0.0.1:{port}"])
    assert said in await refused(fetch, f"http://127.0.0.1:{port}/{path}")


async def test_nobody_is_asked_who_is_not_listed(port: int) -> None:
    asked = len(_Pictures.asked)
    address = f"http://127.0.0.1:{port}/a.png"
    assert "none is fetched here" in await refused(PictureFetcher(), address)
    offline = PictureFetcher([f"127.0.0.1:{port}"], is_offline=True)
    assert "none is fetched here" in await refused(offline, address)
    for listed in ("127.0.0.1", f"127.0.0.1:{port + 1}", f"localhost:{port}", f"7.0.0.1:{port}"):
        assert "not fetched from here" in await refused(PictureFetcher([listed]), address)
    assert len(_Pictures.asked) == asked


@pytest.mark.parametrize(
    "address",
    [
        "http://user:word@pictures.example/a.png",
        "http://pictures.example@127.0.0.1/a.png",
        "http:///a.png",
        "http://[::1/a.png",
        "ftp://pictures.example/a.png",
        "http://pictures.example:99999/a.png",
        "http://pictures.example.evil/a.png",
        "http://pictures.example%2f@evil/a.png",
        "http://pictures.example/" + "a" * 3000,
        "http://\x00/",
    ],
)
async def test_an_address_that_is_none(address: str) -> None:
    await refused(PictureFetcher(["pictures.example"]), address)


@pytest.mark.parametrize("found", PRIVATE)
async def test_a_name_at_an_address_of_one_s_own_is_refused(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    """Also where one address of several is public."""
    answers(monkeypatch, "93.184.216.34", found)
    fetch = PictureFetcher(["pictures.example"])
    assert "not public" in await refused(fetch, "http://pictures.example/a.png")


async def test_the_connection_is_made_to_what_was_looked_at(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """A name that says another address the second time is asked once."""
    looked_up = answers(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(fetching, "_is_public", lambda address: True)
    fetch = PictureFetcher([f"pictures.example:{port}"])
    assert await fetch(f"http://pictures.example:{port}/a.png") == PICTURE
    assert looked_up == ["pictures.example"]


async def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    fetch = PictureFetcher(["pictures.example"])
    assert "name is not known" in await refused(fetch, "https://pictures.example/a.png")


async def test_a_slow_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fetch = PictureFetcher([f"127.0.0.1:{port}"])
        assert "did not come within" in await refused(fetch, f"http://127.0.0.1:{port}/a.png")


async def test_a_certificate_of_nobody(port: int) -> None:
    """The port speaks plain HTTP: no TLS, no picture."""
    fetch = PictureFetcher([f"127.0.0.1:{port}"])
    assert "could not be fetched" in await refused(fetch, f"https://127.0.0.1:{port}/a.png")


async def test_no_proxy_of_the_environment_is_asked(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    fetch = PictureFetcher([f"127.0.0.1:{port}"])
    assert await fetch(f"http://127.0.0.1:{port}/a.png") == PICTURE


@pytest.mark.parametrize("host", ["http://a.example", "a.example/x", "*", "a b", "a:b:c", "[::1"])
def test_a_setting_that_is_no_host(host: str) -> None:
    with pytest.raises(CannotStart, match=r"images\.example\.com"):
        read_settings(image_hosts=[host])


def test_hosts_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FJORD_IMAGE_HOSTS", "a.example; b.example:8443 ;[2001:db8::1]:80")
    expected = ("a.example", "b.example:8443", "[2001:db8::1]:80")
    assert read_settings().image_hosts == expected


def answers(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """The names that are looked up, each of which is at these addresses."""
    looked_up = []

    async def known(host: str, port: int, **_: Any) -> Any:
        looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
    return looked_up


async def test_a_request_s_picture_is_fetched_and_read(tmp_path: Path, port: int) -> None:
    hosts = [f"127.0.0.1:{port}"]
    with serving(tmp_path, scripted("seeing", images=2), settings={"image_hosts": hosts}) as server:

        async def answered(path: str) -> httpx.Response:
            messages = user("a", image_part(f"http://127.0.0.1:{port}/{path}"))
            body = {"model": "seeing", "messages": messages}
            async with httpx.AsyncClient(headers=server.headers) as client:
                return await client.post(f"{server.url}/v1/chat/completions", json=body)

        seen = (await answered("a.png")).json()
        assert seen["choices"][0]["message"]["content"] == "a [32x20]"
        refusal = (await answered("text")).json()["error"]
        assert refusal["param"] == "messages[0].content[1].image_url.url"
        assert str(port) not in refusal["message"]
