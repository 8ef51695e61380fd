"""Chat and its wire forms, put together: one body in, what to generate and how to say it out."""

import time

from engines.registry.spec import ModelSpec
from server.api.chat.metered import MeteredChatStream
from server.api.chat.request import chat_request, truncation
from server.api.chat.stream import ChatStream
from server.api.chat.thinking import is_trace_shown
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
    is_shown = is_trace_shown(wire)
    is_metered = request.stream and wire.wants_running_usage
    if request.stream:
        form = MeteredChatStream if is_metered else ChatStream
        shape = form(answer_id, created, wire.model, n, wire.wants_usage, is_shown)
    else:
        shape = ChatAnswer(answer_id, created, wire.model, n, is_shown)
    newer = {} if wire.max_completion_tokens is None else {"max_tokens": "max_completion_tokens"}
    return Plan(
        requests=(request,),
        shape=shape,
        has_max_tokens=wire.has_max_tokens,
        wire_names=newer,
        truncation=truncation(wire),
        has_running_usage=is_metered,
    )
