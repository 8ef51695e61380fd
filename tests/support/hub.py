"""A model hub of the tests' own on loopback: it lists, serves, refuses, and cuts what it serves."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 100_000  # 26 MB: the client writes 10 MB at a time
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "original/consolidated.00.pth": b"x" * 1000,
    "README.md": b"not needed",
}


@dataclass
class Hub:
    """A hub with one repository, owner/name, and what it did."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    refusal: tuple[int, str] | None = None
    cut_at: int | None = None
    """Bytes of the weights after which the connection is cut, once."""
    hold_at: int | None = None
    """Bytes of the weights after which nothing more comes."""
    listed_size: int | None = None
    """Bytes that every file is said to have."""
    token: str | None = None
    licence: str | None = "apache-2.0"
    commit: str = COMMIT
    """What `main` is."""
    spoils: set[str] = field(default_factory=set)
    """Files that come with other bytes than are listed."""
    lists: list[dict[str, Any]] = field(default_factory=list)
    """Entries of the tree besides those of `files`."""
    sends: dict[str, bytes] = field(default_factory=dict)
    """Files that come with these bytes, whatever is listed."""
    elsewhere: str | None = None
    """The address of another hub, to which every GET of a file is sent on."""
    busy_for: int = 0
    """So many requests yet are answered with 429, ..."""
    busy_at: str = "/"
    """... of those whose path begins so."""
    tokens: list[str | None] = field(default_factory=list)
    """What each request of a file had as Authorization."""
    served: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range) of every GET of a file."""
    released: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        return {**kept, "HF_ENDPOINT": self.address, "HF_HOME": str(home)}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        if self.hub.busy_for > 0 and self.path.startswith(self.hub.busy_at):
            self.hub.busy_for -= 1
            self._send(429, b"{}", {"Retry-After": "1"}, with_body)
        elif self.hub.refusal is not None:
            status, code = self.hub.refusal
            self._send(status, b"{}", {"X-Error-Code": code}, with_body)
        elif self.hub.token and self.headers["Authorization"] != f"Bearer {self.hub.token}":
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo"}, with_body)
        elif self.path.startswith(self._described()):
            card = {"license": self.hub.licence} if self.hub.licence else {}
            said = {"id": "owner/name", "sha": self.hub.commit, "siblings": [], "cardData": card}
            self._send_json(said, with_body)
        elif self.path.startswith("/api/models/owner/name/revision/"):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
        elif self.path.startswith(f"/api/models/owner/name/tree/{self.hub.commit}"):
            self._send_json(self._tree(), with_body)
        elif self.path.startswith(f"/owner/name/resolve/{self.hub.commit}/"):
            self._send_file(
                self.path.partition(f"{self.hub.commit}/")[2].partition("?")[0], with_body
            )
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _described(self) -> tuple[str, ...]:
        """A model without a revision is its `main`."""
        named = "/api/models/owner/name/revision"
        return (f"{named}/main", f"{named}/{self.hub.commit}", *self._unnamed())

    def _unnamed(self) -> tuple[str, ...]:
        return (self.path,) if self.path.partition("?")[0] == "/api/models/owner/name" else ()

    def _tree(self) -> list[dict[str, Any]]:
        files = [self._listed(name, content) for name, content in self.hub.files.items()]
        return files + self.hub.lists

    def _listed(self, name: str, content: bytes) -> dict[str, Any]:
        """As the hub does: a SHA-256 for large files, git's own hash for the others."""
        size = len(content) if self.hub.listed_size is None else self.hub.listed_size
        git = hashlib.sha1(b"blob %d\0" % size + content).hexdigest()
        file = {"type": "file", "path": name, "size": size, "oid": git}
        if name.endswith((".safetensors", ".gguf")):
            file["lfs"] = {"oid": _sha(content), "size": size, "pointerSize": 130}
        return file

    def _send_file(self, name: str, with_body: bool) -> None:
        self.hub.tokens.append(self.headers["Authorization"])
        if self.hub.elsewhere is not None:
            self._send(302, b"", {"Location": f"{self.hub.elsewhere}{self.path}"}, with_body)
            return
        content = self.hub.sends.get(name, self.hub.files.get(name, b""))
        if name in self.hub.spoils:
            content = bytes([content[0] ^ 1]) + content[1:]
        headers = {
            "X-Repo-Commit": self.hub.commit,
            "ETag": f'"{_sha(content)}"',
            "Accept-Ranges": "bytes",
        }
        if not with_body:
            if self.hub.listed_size is not None:
                headers["X-Linked-Size"] = str(self.hub.listed_size)
            self._send(200, content, headers, with_body)
            return
        asked = self.headers["Range"]
        self.hub.served.append((name, asked))
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if asked:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        stop = self.hub.cut_at or self.hub.hold_at
        if name != "model.safetensors" or stop is None:
            self._send(206 if asked else 200, content[start:], headers, with_body)
            return
        self._send(206 if asked else 200, content[start:], headers, False)
        self.wfile.write(content[start : start + stop])
        self.wfile.flush()
        if self.hub.hold_at is not None:
            self.hub.released.wait(60)
        self.hub.cut_at = None
        self.close_connection = True

    def _send_json(self, value: object, with_body: bool) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, with_body)

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers in a thread until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
