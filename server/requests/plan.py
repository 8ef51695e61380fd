"""What one request asks for: what to generate, how the answer is said, and what it is bound by."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from engines.base import (
    Delta,
    GenerateRequest,
    Truncation,
    Usage,
)
from engines.fleet.prefixes import prefixes_of
from engines.fleet.routing import Prefixes
from engines.registry.spec import ModelSpec
from server.error_body import Error
from server.fairness.turn import ServiceClass
from server.http.exchange import EVENT_STREAM, JSON
from server.ledger.records import UsageRecord
from server.requests.sent_fields import SentFields


class Stream(Protocol):
    """The wire form of a streamed answer: deltas to bytes."""

    def open(self) -> bytes: ...
    def delta(self, d: Delta) -> bytes: ...
    def close(self, usage: Usage) -> bytes: ...
    def fail(self, body: Error) -> bytes: ...


class Metered(Protocol):
    """A stream that says the usage so far."""

    def follow(self, usage: Callable[[], Usage]) -> None:
        """`usage` is that of the deltas given up to now; called once, before `open`."""


class Whole(Protocol):
    """The wire form of a whole answer: the fold of its deltas."""

    def add(self, d: Delta) -> None: ...
    def body(self, usage: Usage) -> bytes: ...


class AnswerKeeper(Protocol):
    """Makes an answer durable before its end is said."""

    async def __call__(self, said: bytes) -> bytes:
        """`said`: a whole body, or a stream's end. What goes out: of a stream, another end where it
        cannot be kept. Raises ApiError where a whole one cannot."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one body asks for: what to generate, and how the answer is said."""

    requests: tuple[GenerateRequest, ...]
    """One, or one a prompt: the choices of each come after those of the one before."""
    shape: Stream | Whole
    has_max_tokens: bool
    """Whether the caller named a bound: then it is refused, not shrunk, where it does not fit."""
    truncation: Truncation | None = None
    """None: a prompt that is too long is refused."""
    has_running_usage: bool = False
    """Whether its shape is a `Metered` stream, which says the usage so far with each chunk."""
    wire_names: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Chat's field names, as errors of engines say them -> this endpoint's own."""
    media_type: bytes = EVENT_STREAM
    """Of its stream."""
    whole_type: bytes = JSON
    """Of its whole answer."""
    waiting: bytes | None = None
    """What a silent stream says; None: a comment line."""
    kept: AnswerKeeper | None = None
    """None: nothing of the answer stays here."""

    async def said(self, answer: bytes) -> bytes:
        """A whole body, or a stream's end, as it goes out. Raises as an AnswerKeeper does."""
        return answer if self.kept is None else await self.kept(answer)

    @property
    def is_stream(self) -> bool:
        return self.requests[0].stream

    @property
    def is_as_it_stands(self) -> bool:
        """One prompt, which is generated as it is made."""
        return self.truncation is None and len(self.requests) == 1

    @property
    def sequences(self) -> int:
        """How many are generated at once: the choices of all prompts."""
        return sum(request.sampling.n for request in self.requests)


class Call(msgspec.Struct, kw_only=True, eq=False):
    """One admitted request: its plan, and what is remembered of it."""

    plan: Plan
    spec: ModelSpec
    record: UsageRecord
    deadline: float
    """time.monotonic() at which it ends with REQUEST_TIMEOUT."""
    send_timeout_s: float
    keep_alive_s: float
    fields: SentFields = msgspec.field(default_factory=SentFields)
    """What its body sets."""
    before: Callable[[], Awaitable[None]] | None = None
    """What must be done before an engine is asked: pictures are read."""
    service_class: ServiceClass = "standard"

    def prefixes(self) -> Prefixes:
        """By which a replica with a warm cache is found."""
        return prefixes_of(self.plan.requests[0])
