"""Requests with an Idempotency-Key, and their records."""

from typing import Any, Final

import pytest

from tests.support.serving import Served, read_records

SAID: Final = [{"role": "user", "content": "Hi you there"}]
CHAT = "/v1/chat/completions"
REPLAYED: Final = "idempotency-replayed"
SLOW: Final = {"text": " ".join(f"word{i}" for i in range(40)), "token_delay_s": 0.02}
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def records(served: Served) -> list[dict[str, Any]]:
    """Of what was answered."""
    return [r for r in read_records(served.data_dir) if r["end"] != "rejected"]


def chat(stream: bool = False, model: str = "m", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": SAID, "stream": stream, **fields}
