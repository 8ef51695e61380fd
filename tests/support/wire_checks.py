"""What every answer of the wire is checked with: the one error body, the events of a stream."""

import json
from typing import Any

import httpx


def assert_error(r: httpx.Response, status: int, code: str, param: str | None = None) -> Any:
    """Every failure has this one body; returns its `error`."""
    assert r.status_code == status, r.text
    body = r.json()
    assert set(body) == {"error", "detail"}
    assert body["error"]["code"] == code
    assert body["detail"] == body["error"]["message"] != ""
    assert body["error"]["param"] == param
    assert r.headers["x-request-id"]
    return body["error"]


def events(text: str) -> list[Any]:
    """The payloads of a stream that ends with [DONE]."""
    lines = [x for x in text.split("\n\n") if x and not x.startswith(":")]
    assert lines[-1] == "data: [DONE]", text[-200:]
    return [json.loads(x.removeprefix("data: ")) for x in lines[:-1]]
