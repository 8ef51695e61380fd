"""One body that is as costly as it can be within the size limit, and what such are made of."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
EMBEDDINGS, TOKENIZE, KEYS = "/v1/embeddings", "/v1/tokenize", "/admin/v1/keys"
LIMIT = 8 * 2**20 - 4096
"""Just within the server's limit of a body."""
ALIAS = "bench"
HI = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One body, where it goes, and how."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    has_key: bool = True
    bytes_per_s: int | None = None
    """None: as fast as it goes. Such a client leaves after some seconds."""
    leaves: bool = False
    """Its client leaves 0.1 s after its last byte."""


Builder = Callable[[], Hostile]


def chat(raw: Mapping[str, str] | None = None, **fields: Any) -> Hostile:
    """A chat's fields; `raw` ones are JSON text already."""
    return posted(CHAT, {"model": ALIAS, "messages": HI, "max_tokens": 2, **fields}, raw)


def posted(path: str, fields: Mapping[str, Any], raw: Mapping[str, str] | None = None) -> Hostile:
    """To any endpoint, as `chat`."""
    texts = {name: json.dumps(value) for name, value in fields.items()} | dict(raw or {})
    text = ",".join(f"{json.dumps(name)}:{value}" for name, value in texts.items())
    return Hostile(path=path, body=f"{{{text}}}".encode())


def list_of(item: str, size: int = LIMIT) -> str:
    """A JSON array of so many bytes."""
    return f"[{','.join([item] * ((size - 512) // (len(item) + 1)))}]"


def many(item: str, count: int) -> str:
    """A JSON array of so many."""
    return f"[{','.join([item] * count)}]"


def members(form: str, count: int) -> str:
    """A JSON object; `form % number` is a member."""
    return "{" + ",".join(form % number for number in range(count)) + "}"


def content(raw: str) -> Hostile:
    """A chat whose one message has this JSON text as its content."""
    return chat({"messages": f'[{{"role":"user","content":{raw}}}]'})


def leaving(hostile: Hostile) -> Hostile:
    """The same, from a client that does not wait for its answer."""
    return replace(hostile, leaves=True)
