"""An OpenID Connect issuer in this process, which a test has say what it likes."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwk, jwt

CLIENT = "fjord"


@dataclass
class FakeIssuer:
    """`claims`: of whoever signs in, over those that are right; `answers`: path -> (status, body)
    instead of the right one, or a function that may wait."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1"})
    """At the userinfo endpoint."""
    header: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    papers: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: jwk.RSAKey.generate_key(2048, {"kid": "one"}))
    published: list[Any] | None = None
    """None: `key` alone."""
    id_token: str | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Paths, and the forms that came to them."""
    nonce: str = ""
    challenge: str = ""
    codes: set[str] = field(default_factory=lambda: {"good"})

    def came(self, url: str) -> dict[str, str]:
        """A browser is here; what it was sent with."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.nonce, self.challenge = query["nonce"], query["code_challenge"]
        assert query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT
        return query

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((path, form))
        if path in self.answers:
            given = self.answers[path]
            found: tuple[int, Any] = given() if callable(given) else given
            return found
        if path.endswith("/openid-configuration"):
            return 200, self._papers() | self.papers
        if path.endswith(("/keys", "/certs")):
            keys = [self.key] if self.published is None else self.published
            return 200, {"keys": [key.as_dict(private=False) for key in keys]}
        if path.endswith("/userinfo"):
            return 200, self.told
        return self._token(form)

    def _papers(self) -> dict[str, Any]:
        ends = {"authorization": "auth", "token": "token", "userinfo": "userinfo"}
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            **{f"{name}_endpoint": f"{self.url}/{path}" for name, path in ends.items()},
        }

    def _token(self, form: dict[str, str]) -> tuple[int, Any]:
        verifier = form.get("code_verifier", "").encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=").decode()
        if form.get("code") not in self.codes or digest != self.challenge:
            return 400, {"error": "invalid_grant"}
        self.codes.discard(form["code"])
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 300}
        claims |= {"nonce": self.nonce} | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "one"} | self.header
        token = self.id_token or jwt.encode(header, claims, self.key, algorithms=[header["alg"]])
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": token}


@contextmanager
def fake_issuer() -> Iterator[FakeIssuer]:
    issuer = FakeIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            self._say({name: values[0] for name, values in parse_qs(text).items()})

        def _say(self, form: dict[str, str]) -> None:
            status, body = issuer.answer(urlsplit(self.path).path, form)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if status in (301, 302):
                self.send_header("location", "http://192.0.2.1/")
            self.end_headers()
            try:
                self.wfile.write(data)
            except ConnectionError:
                return

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
