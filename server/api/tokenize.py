"""POST /v1/tokenize: how many tokens a request would have, before it is sent; costs nothing."""

from collections.abc import Sequence
from typing import Annotated, cast

import msgspec
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from engines.base import Engine, GenerateRequest, Prompt, Sampling
from engines.host.interpreter_turns import give_way
from engines.registry.spec import Effort, ModelSpec
from server.accounts.limits import Admission
from server.api.chat.messages import messages
from server.api.chat.prompt_end import prompt_end
from server.api.chat.request import tools_of
from server.api.chat.thinking import thinking_of
from server.api.chat.wire import Asked, Messages, Tools
from server.api.chat.wire_thinking import BudgetFields, ReasoningOptions, ThinkingFields
from server.api.chat.wire_values import Verbosity
from server.api.fields import refuse
from server.api.fields_beside import TOKENIZE as FIELDS
from server.api.unmetered import UnmeteredEndpoint
from server.errors import ApiError
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.requests.single import SingleRun


class TokenizeRequest(ThinkingFields, Asked):
    """The body of /v1/tokenize: exactly one of messages and prompt."""

    messages: Annotated[
        Messages | None,
        Field(description="Counted with the alias' chat template"),
    ] = None
    prompt: Annotated[str | None, Field(description="Counted as it is")] = None
    tools: Annotated[Tools | None, Field(description="As in chat")] = None
    reasoning_effort: Annotated[Effort | None, Field(description="As in chat")] = None
    reasoning: Annotated[ReasoningOptions | None, Field(description="As in chat")] = None
    verbosity: Annotated[Verbosity | None, Field(description="As in chat")] = None
    add_generation_prompt: Annotated[bool | None, Field(description="As in chat")] = None
    continue_final_message: Annotated[bool | None, Field(description="As in chat")] = None

    @property
    def verbosity_asked(self) -> tuple[str, str | None]:
        return "verbosity", self.verbosity


class TokenCount(TypedDict):
    model: str
    count: Annotated[int, Field(description="Tokens the prompt would have")]
    max_model_len: Annotated[int, Field(description="The model's context")]
    tokens: Annotated[list[int], Field(description="Their ids")]


TOKENIZE: TypeAdapter[TokenizeRequest] = TypeAdapter(TokenizeRequest)


_FEW_TOKENS = 65_536
"""More are written in a thread: 3 ms of the event loop."""


class Tokenize(UnmeteredEndpoint[TokenizeRequest]):
    """The endpoint."""

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: TokenizeRequest,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> SingleRun:
        request = _request(wire, spec, record.record_id)

        async def work(engine: Engine) -> bytes:
            prompt = await engine.render(request)
            if prompt.token_count <= _FEW_TOKENS:
                return _answer(wire, spec, engine, prompt)
            return await self.services.long_bodies(_answer, wire, spec, engine, prompt)

        return self.job(exchange, wire, record, work, request)


def _answer(wire: TokenizeRequest, spec: ModelSpec, engine: Engine, prompt: Prompt) -> bytes:
    answer: TokenCount = {
        "model": wire.model,
        "count": prompt.token_count,
        "max_model_len": min(spec.context_tokens, engine.context_tokens),
        "tokens": cast("list[int]", msgspec.Raw(_encoded(prompt.token_ids))),
    }
    return msgspec.json.encode(answer)


def _encoded(token_ids: Sequence[int]) -> bytes:
    """In pieces: two million at once would keep all other threads waiting for 40 ms."""
    pieces = []
    for begin in range(0, len(token_ids), _FEW_TOKENS):
        pieces.append(msgspec.json.encode(token_ids[begin : begin + _FEW_TOKENS])[1:-1])
        give_way()
    return b"[" + b",".join(pieces) + b"]"


def _request(wire: TokenizeRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    refuse(wire.model_extra, FIELDS)
    if (wire.messages is None) == (wire.prompt is None):
        which = "neither" if wire.messages is None else "both"
        message = f"Exactly one of messages and prompt is needed; {which} is there."
        raise ApiError.invalid(message, "messages", which, "messages or prompt")
    thinking = thinking_of(wire, BudgetFields(), spec, wire.reasoning_effort)
    tools = tools_of(wire.tools)
    if not spec.call_parser or not wire.messages:
        tools = ()
    return GenerateRequest(
        request_id=request_id,
        sampling=Sampling(max_tokens=1),
        messages=messages(wire.messages, spec) if wire.messages else None,
        prompt=wire.prompt,
        tools=tools,
        tool_parser=spec.call_parser,
        chat_template_kwargs=thinking.template_kwargs,
        prompt_end=prompt_end(wire, wire.messages) if wire.messages else "answer",
        stream=False,
    )
