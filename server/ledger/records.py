"""The ledger's nouns: who calls, and what one request used."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

End: TypeAlias = Literal[
    "ok",
    "length",
    "client_left",
    "engine_died",
    "rejected",
    "timed_out",
    "failed",
    "shut_down",
    "lost",
]
"""How a request ended: ok (also stop, tool_calls), length, the client left, the engine died,
rejected before any token, past its deadline, failed otherwise, cut by a drain, lost in a crash."""

LevelKind: TypeAlias = Literal["site", "owner", "member", "key"]

ContentMode: TypeAlias = Literal["none", "metadata", "full"]
"""What is kept of requests: nothing; their shape, without a word of anybody's; body and answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Of one level, all models together. None: of a key the server's default, else no limit."""

    requests_per_minute: int | None = None
    burst: int | None = None
    concurrent: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedLevel:
    """Something above a key that has limits of its own."""

    level_id: str
    kind: LevelKind
    title: str
    """What clients are told that it is."""
    limits: KeyLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A key that was accepted: everything the request path asks about it and what is above it."""

    key_id: str
    name: str
    owner: str
    """Its name."""
    owner_id: str = ""
    service: str = "llm"
    models: frozenset[str] | None = None
    """Allowed aliases; None: all."""
    limits: KeyLimits = field(default_factory=KeyLimits)
    """The key's own."""
    levels: tuple[LimitedLevel, ...] = ()
    """Above it, the nearest first."""
    currency: str | None = None
    price_factor: int | None = None
    """In millionths; None: prices are the registry's."""
    is_admin: bool = False
    content: "tuple[tuple[ContentMode, float], ...]" = ()
    """What the key and each level above it says of content, until when (Unix seconds), the nearest
    first; (): nothing is kept."""


@dataclass(slots=True, kw_only=True)
class UsageRecord:
    """One request, whatever its end. Money in micro-units of `currency`, times in Unix seconds."""

    record_id: str
    """The request id: unique over the site; never used twice."""
    key_id: str
    owner: str
    alias: str
    weights: str
    revision: str | None
    endpoint: str
    stream: bool
    started_at: float
    end: End
    finish_reason: str | None = None
    agent_id: str | None = None
    user: str | None = None
    region: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    ttft_s: float | None = None
    duration_s: float = 0.0
    price_input: int = 0
    """Micro-units per million tokens at that time; so the two below."""
    price_cached: int = 0
    price_output: int = 0
    currency: str = "NOK"
    amount: int = 0
    node: str = ""


WORD_BYTES = 512
"""Of what a client calls its agents and users so much is stored: PostgreSQL's index takes no more
than 2,700 bytes for agent, owner, alias and region together."""


def bound_words(record: UsageRecord) -> None:
    record.agent_id = bounded(record.agent_id)
    record.user = bounded(record.user)


def bounded(word: str | None) -> str | None:
    if word is None or len(word) <= WORD_BYTES // 4:
        return word
    return word.encode(errors="replace")[:WORD_BYTES].decode(errors="ignore")
