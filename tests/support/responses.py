"""Models, bodies and events of /v1/responses."""

import json
from typing import Any

import httpx

from engines.base import Reasoning
from tests.support.serving import scripted

MODELS = (
    scripted("m"),
    scripted(
        "thinks",
        text="The capital of Norway is Oslo.",
        reasoning=Reasoning(),
        reasoning_text="Norway, so Oslo.",
        reasoning_efforts={"low": {"enable_thinking": False}},
    ),
    scripted("tools", tool_parser="hermes"),
)
ASK: dict[str, Any] = {"model": "m", "input": "Hi you"}
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "minLength": 4}}},
    "strict": None,
}


def events(r: httpx.Response) -> list[dict[str, Any]]:
    """The payloads; every one has its type as event name, and the next sequence number."""
    assert r.headers["content-type"].startswith("text/event-stream")
    out: list[dict[str, Any]] = []
    for block in r.text.strip().split("\n\n"):
        name, data = block.split("\n", 1)
        payload = json.loads(data.removeprefix("data: "))
        assert name == f"event: {payload['type']}"
        assert payload["sequence_number"] == len(out)
        out.append(payload)
    return out
