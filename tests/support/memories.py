"""A memory on a folder of its own, and what is kept in it."""

import time
from pathlib import Path
from typing import Any

import msgspec

from server.memory.memory import Memory, where
from server.memory.response_rows import KeptResponse, KeptTurn

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
