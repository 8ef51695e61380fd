"""What a trace is made of: one request's facts and times, handed over when it has ended.

Nothing that a client wrote is among them but its trace context and its request id: no prompt and no
answer, no key, no path that is none of ours. Of times: time.monotonic().
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from prometheus_client.registry import Collector

Phase: TypeAlias = Literal[
    "queue", "prompt", "turn", "prefill", "decode", "embed", "score", "tokenize", "load", "settle"
]
"""What a request is at: it waits for an engine; its prompt is rendered, tokenised and reserved for;
it waits for its turn, where the engine is full; the engine reads it, to the first token; it
generates; one without deltas is worked on; its record is written."""


MOST_CONTEXT_BYTES: Final = 512
"""Of a traceparent, and of a request's tracestate together: W3C has vendors pass on so much."""


class TracedWork(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request that a model was asked for."""

    operation: str
    """As GenAI's conventions call it."""
    alias: str
    began: float
    phases: tuple[tuple[Phase, float], ...]
    """Each with its end: it began where the one before ended, the first where the work did."""
    end: str
    """Of its usage record."""
    is_stream: bool = False
    choices: int = 1
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    ttft_s: float | None = None
    per_token_s: float | None = None


class SpanPlace(msgspec.Struct, frozen=True, gc=False):
    """Where the span of a model's work will be, for one that is asked of another server: decided
    when that is asked, so that the other's spans hang under it."""

    trace_id: int
    span_id: int
    is_sampled: bool
    tracestate: str

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


class TracedRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One exchange over HTTP."""

    request_id: str
    method: str
    scheme: str
    version: str
    """Of HTTP."""
    route: str
    """"": none of ours, or one that was refused before it was looked for."""
    status: int
    """0: none was sent."""
    code: str
    """Of the error that was its end; "": it had none."""
    traceparent: Sequence[bytes]
    """The header's values, as they came: who exports them reads them."""
    tracestate: Sequence[bytes]
    began: float
    ended: float
    ended_at_ns: int
    """The same moment in Unix nanoseconds."""
    work: TracedWork | None
    place: SpanPlace | None = None


class Traces(Collector):
    """Where they go. A Collector: /metrics tells what became of them."""

    def ended(self, request: TracedRequest) -> None:
        """Take a request that has ended; never waits, never raises."""
        raise NotImplementedError

    def place(self, traceparent: Sequence[bytes], tracestate: Sequence[bytes]) -> SpanPlace:
        """For a request with these headers."""
        raise NotImplementedError

    async def start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        """Export what is left, within a bounded time."""
        raise NotImplementedError
