"""Ollama's bodies -> what to generate: a chat of ours, said in its words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from engines.base import GenerateRequest, Structure
from engines.registry.spec import ModelSpec
from server.api.chat.request import chat_request
from server.api.chat.sampling import sampling
from server.api.chat.thinking import budget_of
from server.api.chat.wire import ChatMessage, ChatRequest, JsonSchema, ResponseFormat
from server.api.chat.wire_thinking import ThinkingConfig
from server.api.fields import refuse
from server.api.ollama.answers import (
    CHAT_LINE,
    NDJSON,
    TEXT_LINE,
    LineForm,
    OllamaAnswer,
    OllamaStream,
    waiting,
)
from server.api.ollama.fields import NAMES, OF_A_PENALTY, OLLAMA, OPTIONS
from server.api.ollama.messages import content_with
from server.api.ollama.wire import (
    GeneratingFields,
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaOptions,
)
from server.errors import ApiError
from server.requests.plan import Plan, Stream, Whole

_SAME = ("temperature", "top_p", "min_p", "top_k", "presence_penalty", "frequency_penalty")


def build_ollama_chat(wire: OllamaChatRequest, spec: ModelSpec, request_id: str) -> Plan:
    """One chat. Raises ApiError 400 in Ollama's field names."""
    _check(wire)
    with _in_its_words():
        chat = _chat(wire, spec, wire.chat, tools=wire.tools)
        request = chat_request(chat, spec, request_id)
    return _plan(wire, request, CHAT_LINE)


def build_ollama_generate(wire: OllamaGenerateRequest, spec: ModelSpec, request_id: str) -> Plan:
    """One prompt, in the model's chat template or raw. Raises ApiError 400 in Ollama's field
    names."""
    _check(wire)
    with _in_its_words():
        if wire.raw:
            return _plan(wire, _raw(wire, spec, request_id), TEXT_LINE)
        asked = content_with("images", wire.images, wire.prompt or "", instead="a prompt alone")
        said = [("system", wire.system), ("user", asked)]
        messages = [ChatMessage(role=role, content=each) for role, each in said if each]  # type: ignore[arg-type]
        request = chat_request(_chat(wire, spec, messages), spec, request_id)
    return _plan(wire, request, TEXT_LINE)


@contextmanager
def _in_its_words() -> Iterator[None]:
    """Chat's refusals name chat's fields."""
    try:
        yield
    except ApiError as error:
        error.rename(NAMES)
        raise


def _check(wire: GeneratingFields) -> None:
    refuse(wire.model_extra, OLLAMA)
    options = wire.options or OllamaOptions()
    refuse(options.model_extra, OPTIONS, "options.")
    if options.repeat_penalty not in (None, 1):
        refuse(options.model_extra, OF_A_PENALTY, "options.")
    if wire.top_logprobs and not wire.logprobs:
        message = "top_logprobs needs logprobs to be true."
        raise ApiError.invalid(message, "top_logprobs", wire.top_logprobs, '"logprobs": true')


def _plan(wire: GeneratingFields, request: GenerateRequest, line: LineForm) -> Plan:
    if wire.stream:
        shape: Stream | Whole = OllamaStream(wire.model, line)
    else:
        shape = OllamaAnswer(wire.model, line)
    return Plan(
        requests=(request,),
        shape=shape,
        media_type=NDJSON,
        waiting=waiting(wire.model, line),
        has_max_tokens=False,  # num_predict is a bound: what has no room ends the answer
        has_running_usage=True,  # that is when its engine is found
        wire_names={**NAMES, "messages": "prompt" if line is TEXT_LINE else "messages"},
    )


def _chat(
    wire: GeneratingFields, spec: ModelSpec, messages: list[ChatMessage], **more: Any
) -> ChatRequest:
    """As its fields would stand in a body of /v1/chat/completions."""
    return ChatRequest.model_construct(
        model=wire.model,
        messages=messages,
        stream=bool(wire.stream),
        response_format=_format(wire.format),
        logprobs=bool(wire.logprobs),
        top_logprobs=wire.top_logprobs if wire.logprobs else None,
        **_drawn(wire.options or OllamaOptions(), spec),
        **_thinking(wire.think),
        **more,
    )


def _drawn(options: OllamaOptions, spec: ModelSpec) -> dict[str, Any]:
    """Fields of sampling, those alone that the body sets: the rest is the alias'."""
    given = {name: getattr(options, name) for name in (*_SAME, "seed", "stop")}
    given["repetition_penalty"] = options.repeat_penalty
    asked = options.num_predict or 0
    given["max_tokens"] = min(asked, spec.output_tokens) if asked > 0 else spec.output_tokens
    return {name: value for name, value in given.items() if value is not None}


def _thinking(think: bool | str | None) -> dict[str, Any]:
    if think is None:
        return {}
    if isinstance(think, str):
        return {"reasoning_effort": think}
    return {"thinking": ThinkingConfig(type="enabled" if think else "disabled")}


def _format(asked: str | dict[str, Any] | None) -> ResponseFormat | None:
    if isinstance(asked, dict):
        schema = JsonSchema(schema=asked)
        return ResponseFormat(type="json_schema", json_schema=schema)
    return ResponseFormat(type="json_object") if asked else None


def _raw(wire: OllamaGenerateRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    """The prompt as it is."""
    for name in ("system", "images"):
        if getattr(wire, name):
            message = f"{name} has no place in a raw prompt."
            raise ApiError.invalid(message, name, None, "the whole text in prompt")
    chat = _chat(wire, spec, [])
    drawn = sampling(
        chat,
        spec,
        max_tokens=chat.max_tokens or 1,
        logprobs=(wire.top_logprobs or 0) if wire.logprobs else None,
    )
    return GenerateRequest(
        request_id=request_id,
        sampling=replace(drawn, thinking_budget=budget_of(chat, spec)),
        prompt=wire.prompt or "",
        structure=_structure(wire.format),
        stream=bool(wire.stream),
    )


def _structure(asked: str | dict[str, Any] | None) -> Structure | None:
    if isinstance(asked, dict):
        return Structure(kind="json_schema", value=asked)
    return Structure(kind="json_object") if asked else None
