"""POST /v1/tokenize: how many tokens a request would have, before it is sent; costs nothing."""

from typing import Annotated

import msgspec
from pydantic import Field, TypeAdapter

from engines.base import Engine, GenerateRequest, Sampling
from engines.registry.spec import ModelSpec
from server.accounts.limits import Admission
from server.api.chat.messages import messages
from server.api.chat.prompt_end import prompt_end
from server.api.chat.request import tools_of
from server.api.chat.template_kwargs import switches, template_kwargs
from server.api.chat.wire import Asked, Messages, Tools
from server.api.chat.wire_values import Effort, Switches
from server.api.endpoint import ModelEndpoint
from server.api.fields import TOKENIZE as FIELDS
from server.api.fields import refuse
from server.errors import ApiError
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.ledger.records import UsageRecord
from server.requests.single import SingleRun


class TokenizeRequest(Asked):
    """The body of /v1/tokenize: exactly one of messages and prompt."""

    messages: Annotated[
        Messages | None,
        Field(description="Counted with the alias' chat template"),
    ] = None
    prompt: Annotated[str | None, Field(description="Counted as it is")] = None
    tools: Annotated[Tools | None, Field(description="As in chat")] = None
    reasoning_effort: Annotated[Effort | None, Field(description="As in chat")] = None
    chat_template_kwargs: Annotated[Switches | None, Field(description="As in chat")] = None
    enable_thinking: Annotated[bool | None, Field(description="As in chat")] = None
    add_generation_prompt: Annotated[bool | None, Field(description="As in chat")] = None
    continue_final_message: Annotated[bool | None, Field(description="As in chat")] = None


TOKENIZE: TypeAdapter[TokenizeRequest] = TypeAdapter(TokenizeRequest)


class Tokenize(ModelEndpoint[TokenizeRequest, SingleRun]):
    """The endpoint."""

    is_metered = False

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
            return msgspec.json.encode(
                {
                    "model": spec.alias,
                    "count": prompt.token_count,
                    "max_model_len": min(spec.context_tokens, engine.context_tokens),
                    "tokens": list(prompt.token_ids),
                }
            )

        return SingleRun(
            exchange,
            self.services.fleet,
            record,
            work,
            deadline=self.deadline(exchange),
        )

    async def run(self, exchange: Exchange, job: SingleRun) -> int:
        await job.run(self.services.supervisor)
        alias = job.record.alias
        self.services.metrics.answered(alias, self.endpoint, exchange.status)
        line_of(exchange.scope).note(model=alias, end=job.record.end)
        return 0


def _request(wire: TokenizeRequest, spec: ModelSpec, request_id: str) -> GenerateRequest:
    refuse(wire.model_extra, FIELDS)
    if (wire.messages is None) == (wire.prompt is None):
        which = "neither" if wire.messages is None else "both"
        message = f"Exactly one of messages and prompt is needed; {which} is there."
        raise ApiError.invalid(message, "messages", which, "messages or prompt")
    tools = tools_of(wire.tools) if spec.call_parser and wire.messages else ()
    return GenerateRequest(
        request_id=request_id,
        sampling=Sampling(max_tokens=1),
        messages=messages(wire.messages, spec) if wire.messages else None,
        prompt=wire.prompt,
        tools=tools,
        tool_parser=spec.call_parser if tools else None,
        chat_template_kwargs=template_kwargs(spec, wire.reasoning_effort, switches(wire)),
        prompt_end=prompt_end(wire, wire.messages) if wire.messages else "answer",
        stream=False,
    )
