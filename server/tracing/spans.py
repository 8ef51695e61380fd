"""TracedRequest -> OTLP's spans, by the conventions for HTTP servers and for generative AI.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and .../gen-ai/gen-ai-spans/
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.trace import SpanKind

from server.tracing import wire
from server.tracing.context import caller_of, parent_context
from server.tracing.facts import SpanPlace, TracedRequest, TracedWork

PROVIDER: Final = "fjord"
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_FAILED: Final = frozenset({"engine_died", "failed", "lost", "shut_down", "timed_out"})
"""Ends of a record that are errors of the server; a client that leaves makes none."""
_SAMPLED: Final = 0x101
"""A span's flags: the context's own, and that its parent's place is known."""
_IS_REMOTE: Final = 0x200
"""... and is elsewhere."""


class SpanMaker:
    """Makes a request's spans, where the sampler wants them. For one thread, but for `place`."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._ids = RandomIdGenerator()

    def spans(self, request: TracedRequest) -> list[bytes]:
        """The server's span first, then the model's work and its phases; none: not sampled. The
        caller's trace goes on, and its sampled flag decides, unless the sampler is another."""
        context = parent_context(request.traceparent, request.tracestate)
        place = request.place or self._placed(context, span_name(request))
        return list(self._made(request, caller_of(context), place)) if place.is_sampled else []

    def place(self, traceparent: Sequence[bytes], tracestate: Sequence[bytes]) -> SpanPlace:
        """Of a request that has not ended. Its name, which no sampler of OpenTelemetry's looks at,
        is not known yet."""
        return self._placed(parent_context(traceparent, tracestate), "")

    def _placed(self, context: Context, name: str) -> SpanPlace:
        caller = caller_of(context)
        trace_id = self._ids.generate_trace_id() if caller is None else caller.trace_id
        result = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER)
        is_sampled = result.decision is Decision.RECORD_AND_SAMPLE
        state = "" if result.trace_state is None else result.trace_state.to_header()
        return SpanPlace(trace_id, self._ids.generate_span_id(), is_sampled, state)

    def _made(
        self,
        request: TracedRequest,
        caller: trace.SpanContext | None,
        place: SpanPlace,
    ) -> Iterator[bytes]:
        parent = b"" if caller is None else caller.span_id.to_bytes(8, "big")
        is_error = is_failed(request)
        error = error_type(request) if is_error else ""
        at = partial(_at_ns, request)
        root = self._new_id()
        trace_id, field = place.trace_id.to_bytes(16, "big"), wire.trace_state(place.tracestate)
        yield wire.span(
            *(trace_id, root, parent, span_name(request)),
            began_ns=at(request.began),
            ended_ns=request.ended_at_ns,
            flags=_SAMPLED if caller is None else _SAMPLED | _IS_REMOTE,
            kind=wire.SERVER,
            attributes=http_attributes(request, error),
            is_error=is_error,
            state=field,
        )
        work = request.work
        if work is None:
            return
        own = place.span_id.to_bytes(8, "big")
        yield wire.span(
            *(trace_id, own, root, f"{work.operation} {work.alias}"),
            began_ns=at(work.began),
            ended_ns=at(work.phases[-1][1]),
            flags=_SAMPLED,
            attributes=gen_ai_attributes(work, error),
            is_error=is_error,
            state=field,
        )
        began_ns = at(work.began)
        for phase, until in work.phases:
            ended_ns = at(until)
            yield wire.span(
                *(trace_id, self._new_id(), own, phase),
                began_ns=began_ns,
                ended_ns=ended_ns,
                flags=_SAMPLED,
                state=field,
            )
            began_ns = ended_ns

    def _new_id(self) -> bytes:
        return self._ids.generate_span_id().to_bytes(8, "big")


def _at_ns(request: TracedRequest, moment: float) -> int:
    """time.monotonic() -> Unix nanoseconds."""
    return request.ended_at_ns - int(1e9 * (request.ended - moment))


def span_name(request: TracedRequest) -> str:
    """`{method} {route}`: of few values, whatever clients ask for."""
    method = request.method if request.method in _METHODS else "HTTP"
    return f"{method} {request.route}" if request.route else method


def is_failed(request: TracedRequest) -> bool:
    """Whether it is the server's failure: a refusal (4xx) is none, nor a client that left. A
    stream's status is 200 whatever comes after."""
    return request.status >= 500 or (request.work is not None and request.work.end in _FAILED)


def error_type(request: TracedRequest) -> str:
    end = "" if request.work is None else request.work.end
    return request.code or (end if end in _FAILED else str(request.status))


def http_attributes(request: TracedRequest, error: str) -> bytes:
    """`error`: of a failure."""
    method = request.method if request.method in _METHODS else "_OTHER"
    common = _http(
        *(method, request.scheme, request.version, request.route),
        *(request.status, request.code, error),
    )
    return common + wire.attribute("fjord.request_id", request.request_id)


@lru_cache(1024)
def _http(
    method: str, scheme: str, version: str, route: str, status: int, code: str, error: str
) -> bytes:
    """What many requests have in common."""
    facts: dict[str, wire.Value] = {
        "http.request.method": method,
        "url.scheme": scheme,
        "network.protocol.version": version,
        "http.route": route,
        "url.path": "" if "{" in route else route,
        "http.response.status_code": status,
        "error.type": error,
        "fjord.error.code": "" if error else code,
    }
    return b"".join(wire.attribute(name, value) for name, value in facts.items() if value)


def gen_ai_attributes(work: TracedWork, error: str) -> bytes:
    """`error`: of a failure."""
    common = _work(
        *(work.operation, work.alias, work.is_stream, work.choices),
        *(work.finish_reason or "", work.end, work.completion_tokens > 0, error),
    )
    return common + b"".join(_numbers(work))


@lru_cache(1024)
def _work(
    operation: str,
    alias: str,
    is_stream: bool,
    choices: int,
    finish_reason: str,
    end: str,
    has_answered: bool,
    error: str,
) -> bytes:
    """What many have in common."""
    facts: dict[str, wire.Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": alias,
        "gen_ai.response.model": alias if has_answered else "",
        "gen_ai.request.stream": is_stream,
        "gen_ai.request.choice.count": choices if choices != 1 else 0,
        "gen_ai.response.finish_reasons": (finish_reason,) if finish_reason else (),
        "fjord.end": end,
        "error.type": error,
    }
    return b"".join(wire.attribute(name, value) for name, value in facts.items() if value)


def _numbers(work: TracedWork) -> Iterator[bytes]:
    yield wire.count("gen_ai.usage.input_tokens", work.prompt_tokens)
    yield wire.count("gen_ai.usage.output_tokens", work.completion_tokens)
    if work.cached_tokens:
        yield wire.count("gen_ai.usage.cache_read.input_tokens", work.cached_tokens)
    if work.reasoning_tokens:
        yield wire.count("gen_ai.usage.reasoning.output_tokens", work.reasoning_tokens)
    if work.max_tokens is not None:
        yield wire.count("gen_ai.request.max_tokens", work.max_tokens)
    if work.temperature is not None:
        yield wire.measure("gen_ai.request.temperature", work.temperature)
    if work.top_p is not None:
        yield wire.measure("gen_ai.request.top_p", work.top_p)
    if work.ttft_s is not None:
        yield wire.measure("gen_ai.server.time_to_first_token", work.ttft_s)
        if work.is_stream:
            yield wire.measure("gen_ai.response.time_to_first_chunk", work.ttft_s)
    if work.per_token_s is not None:
        yield wire.measure("gen_ai.server.time_per_output_token", work.per_token_s)
