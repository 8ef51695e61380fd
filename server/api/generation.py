"""Endpoints that generate: chat, completions, responses; only their wire forms differ."""

import logging
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from msgspec.structs import replace
from pydantic import TypeAdapter

from engines.registry.spec import ModelSpec
from server.api.chat.wire import SamplingFields
from server.api.endpoint import ModelEndpoint
from server.api.services import Services, record_id_of
from server.http.exchange import Exchange
from server.http.request_log import line_of
from server.ledger.records import Caller
from server.requests.answer import GenerationRun
from server.requests.plan import Call, Plan

log = logging.getLogger("fjord.api")

W = TypeVar("W", bound=SamplingFields)
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
        answer = GenerationRun(call, exchange, services.fleet, services.ledger)
        try:
            await answer.run(services.supervisor)
        finally:
            services.metrics.finished(record, exchange.status, answer.wait_s)
            line_of(exchange.scope).note(
                model=record.alias,
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                end=record.end,
            )
        return record.prompt_tokens + record.completion_tokens

    def prepare(self, exchange: Exchange, caller: Caller, wire: W, spec: ModelSpec) -> Call:
        record_id = record_id_of(exchange)
        plan = self.build(wire, spec, record_id)
        if (others := self.services.limiter.in_flight(caller)) > 1:
            # Fairness: a key's n-th request at once waits behind everybody else's first ones.
            requests = tuple(replace(r, priority=others - 1) for r in plan.requests)
            plan = replace(plan, requests=requests)
        settings = self.services.settings
        return Call(
            plan=plan,
            spec=spec,
            record=self.record(record_id, caller, wire, spec),
            deadline=self.deadline(exchange),
            send_timeout_s=settings.send_timeout_s,
            keep_alive_s=settings.keep_alive_s,
        )
