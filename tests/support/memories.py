"""A memory on a folder of its own, and what is kept in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from server.memory.memory import Memory, where
from server.memory.response_rows import KeptResponse, KeptTurn
from tests.support.serving import Served, scripted, serving

URL = "/v1/responses"
DAY_S = 86_400


def memory_at(folder: Path, *, key: Path | None = None, **options: Any) -> Memory:
    database, key_path = where(folder, options.pop("url", None), key)
    chosen: dict[str, Any] = {
        "makes_key": key is None,
        "node": "node/1",
        "quota_bytes": 10**9,
        "days": 30.0,
        "days_of": {},
        "most_open": 100,
        "keys": list,
    }
    return Memory(database, key_path, **chosen | options)


def kept(
    response_id: str,
    *,
    owner: str = "acme",
    turn: bytes = b'"x"',
    days: float = 30.0,
    status: Any = "completed",
    **more: Any,
) -> KeptResponse:
    now = int(time.time())
    return KeptResponse(
        response_id=response_id,
        owner=owner,
        created_at=now,
        expires_at=now + int(days * DAY_S),
        status=status,
        is_background=status == "queued",
        head=msgspec.json.encode({"id": response_id, "output": []}),
        turn=KeptTurn(input=(msgspec.Raw(turn),)),
        **more,
    )


@contextmanager
def asking(data_dir: Path, **settings: Any) -> Iterator[tuple[httpx.Client, Served]]:
    with (
        serving(data_dir, scripted("m"), settings=settings) as served,
        httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client,
    ):
        yield client, served


def said(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post(URL, json={"model": "m", "input": "Hi", **body})


def on_disk(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
