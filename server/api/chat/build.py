"""Chat and its wire forms, put together: one body in, what to generate and how to say it out."""

import time

from engines.registry.spec import ModelSpec
from server.api.chat.request import chat_request, truncation
from server.api.chat.stream import ChatStream
from server.api.chat.whole import ChatAnswer
from server.api.chat.wire import ChatRequest
from server.ids import new_id
from server.requests.plan import Plan, Stream, Whole


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
        truncation=truncation(wire),
    )
