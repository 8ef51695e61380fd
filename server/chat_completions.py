"""Chat and its wire forms, put together: one body in, what to generate and how to say it out."""

import time

from engines.spec import ModelSpec
from server.convert import chat_request
from server.fold import ChatAnswer
from server.ids import new_id
from server.plan import Plan, Stream, Whole
from server.protocol import ChatRequest
from server.sse import ChatStream


def build_chat(wire: ChatRequest, spec: ModelSpec, request_id: str) -> Plan:
    """One chat request. Raises ApiError 400."""
    request = chat_request(wire, spec, request_id)
    answer_id, created = f"chatcmpl-{new_id(28)}", int(time.time())
    n = request.sampling.n
    shape: Stream | Whole
    if request.stream:
        shape = ChatStream(answer_id, created, spec.alias, n, wire.wants_usage)
    else:
        shape = ChatAnswer(answer_id, created, spec.alias, n)
    newer = {} if wire.max_completion_tokens is None else {"max_tokens": "max_completion_tokens"}
    return Plan(
        requests=(request,),
        shape=shape,
        has_max_tokens=wire.has_max_tokens,
        wire_names=newer,
    )
