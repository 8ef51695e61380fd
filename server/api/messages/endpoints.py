"""The endpoints of /v1/messages: answers, and the count of a prompt's tokens."""

import msgspec

from engines.base import Engine
from engines.registry.spec import ModelSpec
from server.accounts.limits import Admission
from server.api.generation import Generation
from server.api.messages.build import build_message, counted
from server.api.messages.wire import COUNT_TOKENS, MESSAGES, CountRequest, MessagesRequest
from server.api.messages.wire_answers import CountedTokens
from server.api.services import Services
from server.api.unmetered import UnmeteredEndpoint
from server.http.exchange import Exchange
from server.ledger.records import Caller, UsageRecord
from server.requests.single import SingleRun


class Messages(Generation[MessagesRequest]):
    """POST /v1/messages."""

    def __init__(self, services: Services, endpoint: str) -> None:
        super().__init__(services, endpoint, MESSAGES, build_message)

    def _record(
        self, exchange: Exchange, caller: Caller, wire: MessagesRequest, spec: ModelSpec
    ) -> UsageRecord:
        record = super()._record(exchange, caller, wire, spec)
        if wire.metadata is not None and record.user is None:
            record.user = wire.metadata.user_id
        return record


class CountTokens(UnmeteredEndpoint[CountRequest]):
    """POST /v1/messages/count_tokens: what would be billed as input. Costs nothing."""

    def __init__(self, services: Services, endpoint: str) -> None:
        super().__init__(services, endpoint, COUNT_TOKENS)

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: CountRequest,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> SingleRun:
        request = counted(wire, spec, record.record_id)

        async def work(engine: Engine) -> bytes:
            prompt = await engine.render(request)
            answer: CountedTokens = {"input_tokens": prompt.token_count}
            return msgspec.json.encode(answer)

        return self.job(exchange, wire, record, work, request)
