"""What a trace says of what was generated for a front: its spans hang under the front's."""

import time

from engines.base import GenerateRequest
from server.http.asgi import Scope
from server.http.request_log import TraceHeaders
from server.ledger.records import UsageRecord
from server.peers.wire import PATH
from server.requests.times import Times
from server.requests.traced import first_token_at, generation_work, waits
from server.tracing.facts import TracedRequest, TracedWork


def traced_answer(
    scope: Scope,
    headers: TraceHeaders,
    record: UsageRecord,
    times: Times,
    request: GenerateRequest,
    code: str,
) -> TracedRequest:
    """`scope`: of the channel. `code`: of the error that was its end."""
    traceparent, tracestate = headers
    return TracedRequest(
        request_id=record.record_id,
        method=scope["method"],
        scheme=scope["scheme"],
        version=scope["http_version"],
        route=f"{PATH}channel",
        status=200,
        code=code,
        traceparent=traceparent,
        tracestate=tracestate,
        began=times.began,
        ended=time.monotonic(),
        ended_at_ns=time.time_ns(),
        work=_work(record, times, request),
    )


def _work(record: UsageRecord, times: Times, request: GenerateRequest) -> TracedWork:
    return generation_work(
        *(record, times, request),
        phases=[*waits(times), ("prefill", first_token_at(record, times)), ("decode", None)],
        settled=None,
        choices=request.sampling.n,
        has_max_tokens=True,
    )
