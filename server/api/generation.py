"""Endpoints that generate: chat, completions, responses; only their wire forms differ."""

import logging
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from msgspec.structs import replace
from pydantic import TypeAdapter

from engines.registry.spec import ModelSpec
from server.accounts.limits import Admission
from server.api.chat.wire import Asked
from server.api.endpoint import ModelEndpoint
from server.api.services import Services
from server.errors import ApiError
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.ledger.records import UsageRecord
from server.requests.answer import GenerationRun
from server.requests.plan import Call, Plan
from server.requests.sent_fields import SentFields
from server.requests.traced import traced_generation

log = logging.getLogger("fjord.api")

W = TypeVar("W", bound=Asked)
Build: TypeAlias = Callable[[W, ModelSpec, str], Plan]
"""Wire body, alias, request id -> what to generate, and the wire form of its answer."""


class Generation(ModelEndpoint[W, Call], Generic[W]):
    """An endpoint that generates: chat, completions, responses; only the wire forms differ."""

    def __init__(
        self, services: Services, endpoint: str, adapter: TypeAdapter[W], build: Build[W]
    ) -> None:
        super().__init__(services, endpoint, adapter)
        self.build = build

    async def run(self, exchange: Exchange, call: Call) -> int:
        services, record = self.services, call.record
        answer = GenerationRun(call, exchange, services.fleet, services.ledger, services.gates)
        try:
            await answer.run(services.supervisor)
        finally:
            services.metrics.finished(record, exchange.status, answer.times.wait_s)
            if answer.broken_form is not None:
                services.metrics.form_broken(record.alias, answer.broken_form)
                log.error("request %s: %s", exchange.request_id, _told(record, answer.broken_form))
            line = line_of(exchange.scope)
            line.record, line.work = record, traced_generation(answer)
            line.note(
                model=record.alias,
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                end=record.end,
            )
        return record.prompt_tokens + record.completion_tokens

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: W,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> Call:
        return self.call_of(
            exchange, admission, wire, spec, record, self.build(wire, spec, record.record_id)
        )

    def call_of(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: W,
        spec: ModelSpec,
        record: UsageRecord,
        plan: Plan,
    ) -> Call:
        """Raises what admission of its sequences does."""
        plan = _of_spec(plan, spec, self.services.prefix_salts.of(spec, record.owner))
        self._admit(plan, admission)
        settings = self.services.settings
        return Call(
            plan=plan,
            spec=spec,
            record=record,
            deadline=self.deadline(exchange),
            send_timeout_s=settings.send_timeout_s,
            keep_alive_s=settings.keep_alive_s,
            fields=SentFields(wire),
            before=self.services.pictures.read_first(plan.requests) if spec.most_images else None,
            service_class="interactive" if plan.is_stream else self.services.service_class,
        )

    def _admit(self, plan: Plan, admission: Admission) -> None:
        """A slot of its key for each sequence. Raises ConcurrencyLimited, and ApiError 400 where
        the key can never have so many."""
        limiter = self.services.limiter
        if plan.sequences == 1 and limiter.in_flight(admission.caller) == 1:
            return
        check_sequences(plan, limiter.concurrent(admission.caller))
        limiter.widen(admission, plan.sequences)


def _of_spec(plan: Plan, spec: ModelSpec, salt: str | None) -> Plan:
    """With what its model adds to each request."""
    if salt is None and spec.adapter is None:
        return plan
    shared = () if salt is None else spec.shared_prompts
    requests = tuple(
        replace(request, adapter=spec.adapter, cache_salt=salt, shared_prompts=shared)
        for request in plan.requests
    )
    return replace(plan, requests=requests)


def _told(record: UsageRecord, form: str) -> str:
    return f"an answer of {record.alias} ended without the form that was asked for ({form})"


def check_sequences(plan: Plan, limit: int) -> None:
    """Raises ApiError 400 where a key can never have so many at once."""
    if plan.sequences > max(limit, 1):
        field = "prompt" if len(plan.requests) > 1 else "n"
        message = (
            f"This request asks for {plan.sequences} sequences at once (prompts times n); this API "
            f"key may have {limit}."
        )
        raise ApiError.invalid(message, field, plan.sequences, f"at most {limit} sequences")
