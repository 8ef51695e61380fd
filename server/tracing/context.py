"""The caller's trace context: W3C's traceparent and tracestate, read by OpenTelemetry."""

import logging
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.tracing.facts import MOST_CONTEXT_BYTES

_PROPAGATOR = TraceContextTextMapPropagator()


def parent_context(traceparent: Sequence[bytes], tracestate: Sequence[bytes]) -> Context:
    """What the caller's headers say, an empty one where they say nothing, or not what W3C has them
    say: a malformed context is no reason to refuse a request, nor a line in the log. Without a
    right traceparent there is no tracestate; one that is wrong or too long alone is left out."""
    if len(traceparent) != 1 or len(traceparent[0]) > MOST_CONTEXT_BYTES:
        return Context()
    carrier = {"traceparent": traceparent[0].decode("latin-1")}
    state = b",".join(tracestate)
    if state and len(state) <= MOST_CONTEXT_BYTES:
        carrier["tracestate"] = state.decode("latin-1")
    return _PROPAGATOR.extract(carrier, Context())


def caller_of(context: Context) -> trace.SpanContext | None:
    """The caller's span; None: there is none."""
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def quiet() -> None:
    """OpenTelemetry warns of each header that it does not like, with what the client wrote."""
    logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
