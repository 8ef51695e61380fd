"""What the laptop's servers are asked for: the cases, and one chat answer over a bare socket, so
that the client costs little."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from benchmarks.models import make_prompt

Messages: TypeAlias = Sequence[Mapping[str, str]]
PENALTIES = {"presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1}
PEERS_PENALTIES = {"repeat_penalty": 1.1, "repeat_last_n": 1024}
"""llama.cpp's own server looks at the last 64 tokens unless it is told."""
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 40},
        "numbers": {"type": "array", "items": {"type": "integer"}, "minItems": 200},
    },
    "required": ["title", "numbers"],
    "additionalProperties": False,
}
"""No answer to it ends before its tokens are used up."""
_FORMAT = {"type": "json_schema", "json_schema": {"name": "story", "schema": SCHEMA}}
_SEEDED = {"cache_prompt": False}
_CACHED = {"cache_prompt": True}
PREFIX_TOKENS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Of one request."""

    tokens: int
    first_s: float
    """Until the first text."""
    cached: int = 0
    """Tokens of the prompt that were in the cache, as the answer says."""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What every stream of it asks for."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    peers: Mapping[str, Any] = field(default_factory=dict)
    """More for llama.cpp's own server, by its names."""
    prefix: str = ""
    is_seeded: bool = True
    """Fjord reuses nothing of its cache for a request with a seed."""

    def messages(self, stream: int) -> list[dict[str, str]]:
        asked = {"role": "user", "content": f"Tell me story number {stream} about the sea."}
        return [*([{"role": "system", "content": self.prefix}] if self.prefix else []), asked]

    def body(self, stream: int) -> dict[str, Any]:
        caching = {"seed": stream, **_SEEDED} if self.is_seeded else _CACHED
        return {"messages": self.messages(stream), **caching, **self.fields}

    def peers_body(self, stream: int) -> dict[str, Any]:
        return {**self.body(stream), **self.peers}


PLAIN = Case(name="plain")
CASES = (
    PLAIN,
    Case(name="penalties", fields=PENALTIES, peers=PEERS_PENALTIES),
    Case(name="schema", fields={"response_format": _FORMAT}),
    Case(name="shared prefix", prefix=make_prompt(7, PREFIX_TOKENS), is_seeded=False),
)
Ask: TypeAlias = Callable[[Case, int, int], Awaitable[Answer]]
"""Case, number of the stream, tokens wanted."""


async def over_http(
    url: str, model: str, asked: Mapping[str, Any], tokens: int, *, keeps_text: bool = False
) -> Answer:
    """One streamed chat answer. Raises SystemExit where there is none."""
    body = {
        "model": model,
        "max_tokens": tokens,
        "temperature": 0.7,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_k": 0,
        "min_p": 0.0,
        **asked,
    }
    where, raw = urlsplit(url), json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    began, first_s, usage, chunks = time.perf_counter(), 0.0, b"", list[bytes]()
    writer.write(head.encode() + raw)
    async for line in reader:
        if not first_s and _has_text(line):
            first_s = time.perf_counter() - began
        if b'"completion_tokens"' in line:
            usage = line
        if keeps_text and b'"content":"' in line:
            chunks.append(line)
        last = line if line.strip() else b""
    writer.close()
    if not usage:
        raise SystemExit(f"{url} gave no usage for {body['messages']!r:.80}: {last[:300]!r}")
    said = json.loads(usage[usage.index(b"{") :])["usage"]
    details = said.get("prompt_tokens_details") or {}
    return Answer(
        tokens=said["completion_tokens"],
        first_s=first_s,
        cached=details.get("cached_tokens") or 0,
        text="".join(map(_text, chunks)),
    )


def _has_text(line: bytes) -> bool:
    return b'"content":"' in line and b'"content":""' not in line


def _text(line: bytes) -> str:
    chunk = json.loads(line[line.index(b"{") :])
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
