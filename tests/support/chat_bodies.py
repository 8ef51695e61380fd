"""Bodies of /v1/chat/completions for tests, and the request that an engine gets for one."""

from typing import Any

import httpx

from engines.registry.spec import ModelSpec
from server.api.chat.request import chat_request
from server.api.chat.wire import ChatRequest
from tests.support.serving import scripted

PATH = "/v1/chat/completions"
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi you"}]}
FAMILY = "Hei 👨‍👩‍👧‍👦 på deg 你好"


def post(client: httpx.Client, raw: str | bytes) -> httpx.Response:
    return client.post(PATH, content=raw, headers={"Content-Type": "application/json"})


def saying(content: Any, **more: Any) -> dict[str, Any]:
    return ASK | {"messages": [{"role": "user", "content": content}]} | more


def spec(**fields: Any) -> ModelSpec:
    return scripted("m", **fields)


def asked(change: dict[str, Any], **fields: Any) -> Any:
    """The request that an engine gets for a body."""
    return chat_request(ChatRequest.model_validate(ASK | change), spec(**fields), "id")
