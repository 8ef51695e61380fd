"""A batch as a command sees it: uploaded, begun, looked at, fetched. Speaks HTTP only."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from server.batches.input_lines import NotALine, raw_lines, read_line
from server.cli.link import Link

LOOK_S: Final = 0.5
AWAY_S: Final = 60.0
"""So long a server may be away (a restart) while its batch is followed."""
_TIMEOUT: Final = httpx.Timeout(60.0, write=None)
_LONGEST_LINE: Final = 2**24
_OVER: Final = ("completed", "failed", "expired", "cancelled")


class BatchFailed(Exception):
    """In one line: what the server said, or why it could not be asked."""


class BatchClient:
    """One server, one key. Raises BatchFailed."""

    def __init__(self, server: Link, api_key: str | None) -> None:
        headers = {"X-API-Key": api_key} if api_key else {}
        self._url = str(server)
        self._http = server.client(headers=headers, timeout=_TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def begin(self, file: Path) -> str:
        """The id of a batch of its lines, whose endpoint is the first one's."""
        endpoint = _endpoint(file)
        with open(file, "rb") as content:
            form, files = {"purpose": "batch"}, {"file": (file.name, content)}
            uploaded = self._asked("POST", "/v1/files", data=form, files=files)
        body = {"input_file_id": uploaded["id"], "endpoint": endpoint, "completion_window": "24h"}
        return str(self._asked("POST", "/v1/batches", json=body)["id"])

    def states(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """What it is, again and again, until it is over."""
        heard = time.monotonic()
        while True:
            try:
                seen = self._asked("GET", f"/v1/batches/{batch_id}")
            except BatchFailed as failure:
                is_away = isinstance(failure.__cause__, httpx.TransportError)
                if not is_away or time.monotonic() - heard > AWAY_S:
                    raise
            else:
                heard = time.monotonic()
                yield seen
                if seen["status"] in _OVER:
                    return
            time.sleep(LOOK_S)

    def cancel(self, batch_id: str) -> None:
        self._asked("POST", f"/v1/batches/{batch_id}/cancel")

    def content(self, file_id: str) -> Iterator[bytes]:
        try:
            with self._http.stream("GET", f"/v1/files/{file_id}/content") as answer:
                self._check(answer)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _asked(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **what)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(answer)
        found: dict[str, Any] = answer.json()
        return found

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        answer.read()
        try:
            message = answer.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.text.strip()[:200] or answer.reason_phrase
        raise BatchFailed(f"{answer.status_code}: {message}")

    def _unreachable(self, error: httpx.HTTPError) -> BatchFailed:
        reason = str(error) or type(error).__name__
        return BatchFailed(f"{self._url} cannot be asked: {reason}. Is the server running?")


def _endpoint(file: Path) -> str:
    """Raises BatchFailed where the file's first line is no request."""
    try:
        with open(file, "rb") as content:
            first = next(raw_lines(content, _LONGEST_LINE), None)
            return read_line(b"" if first is None else first.text or b"").url
    except NotALine as error:
        raise BatchFailed(f"{file}: the first line is no request of a batch: {error}") from None
    except (OSError, msgspec.MsgspecError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be read"
        raise BatchFailed(f"{file} cannot be read: {reason}.") from None
