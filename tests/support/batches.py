"""Batches as a client makes them."""

import json
from collections.abc import Sequence
from typing import Any

import httpx

from tests.support.serving import wait_until

CHAT = "/v1/chat/completions"


def chat_line(number: int, text: str, *, model: str = "m", **fields: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": f"line-{number}", "method": "POST", "url": CHAT, "body": body}


def upload(client: httpx.Client, lines: Sequence[Any] | bytes) -> str:
    if not isinstance(lines, bytes):
        lines = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    form = {"purpose": "batch"}
    answer = client.post("/v1/files", data=form, files={"file": ("in.jsonl", lines)})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def made_batch(
    client: httpx.Client,
    lines: Sequence[Any] | bytes = (),
    *,
    endpoint: str = CHAT,
    file_id: str | None = None,
) -> dict[str, Any]:
    body = {
        "input_file_id": file_id or upload(client, lines),
        "endpoint": endpoint,
        "completion_window": "24h",
    }
    answer = client.post("/v1/batches", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def is_over(client: httpx.Client, batch_id: str) -> dict[str, Any]:
    """The batch, once nothing happens to it any more."""
    seen: dict[str, Any] = {}

    def looked() -> bool:
        seen.update(client.get(f"/v1/batches/{batch_id}").json())
        return seen["status"] in ("completed", "failed", "expired", "cancelled")

    wait_until(looked, f"batch {batch_id} is over")
    return seen


def lines_of(client: httpx.Client, file_id: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/files/{file_id}/content")
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]
