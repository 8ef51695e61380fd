"""Chat and its wire forms, put together: one body in, what to generate and how to say it out."""

import secrets
import time

from engines.base import GenerateRequest
from engines.spec import ModelSpec
from server.answer import Stream, Whole
from server.convert import chat_request
from server.fold import ChatAnswer
from server.protocol import ChatRequest
from server.sse import ChatStream


def build_chat(
    wire: ChatRequest, spec: ModelSpec, request_id: str
) -> tuple[GenerateRequest, Stream | Whole]:
    """One chat request. Raises ApiError 400."""
    request = chat_request(wire, spec, request_id)
    answer_id, created, n = (
        f"chatcmpl-{secrets.token_hex(14)}",
        int(time.time()),
        request.sampling.n,
    )
    if not request.stream:
        return request, ChatAnswer(answer_id, created, spec.alias, n)
    include_usage = bool(wire.stream_options and wire.stream_options.include_usage)
    return request, ChatStream(answer_id, created, spec.alias, n, include_usage)
