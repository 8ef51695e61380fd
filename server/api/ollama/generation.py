"""/api/chat and /api/generate: as our chat; a body that says nothing loads its model."""

from typing import Generic, TypeAlias, TypeVar

import msgspec
from pydantic import TypeAdapter

from engines.base import Engine
from engines.registry.spec import ModelSpec
from server.accounts.limits import Admission
from server.api.endpoint import ModelEndpoint
from server.api.generation import Build, Generation
from server.api.ollama.answers import LineForm, now_text
from server.api.ollama.durations import seconds_of
from server.api.ollama.wire import GeneratingFields
from server.api.services import Services
from server.api.unmetered import UnmeteredEndpoint
from server.errors import ApiError
from server.http.exchange import Exchange
from server.ledger.records import UsageRecord
from server.requests.plan import Call
from server.requests.single import SingleRun
from server.tracing.facts import Phase

W = TypeVar("W", bound=GeneratingFields)
Prepared: TypeAlias = Call | SingleRun


class _Loading(UnmeteredEndpoint[W], Generic[W]):
    """A body that says nothing: its model is there when it is answered."""

    phase: Phase = "load"


class OllamaGeneration(ModelEndpoint[W, Prepared], Generic[W]):
    """An endpoint of Ollama's that generates."""

    def __init__(
        self,
        services: Services,
        endpoint: str,
        adapter: TypeAdapter[W],
        build: Build[W],
        form: LineForm,
    ) -> None:
        super().__init__(services, endpoint, adapter)
        self._generation = Generation(services, endpoint, adapter, build)
        self._loading = _Loading(services, endpoint, adapter)
        self._form = form

    def prepare(
        self,
        exchange: Exchange,
        admission: Admission,
        wire: W,
        spec: ModelSpec,
        record: UsageRecord,
    ) -> Prepared:
        if wire.says_something:
            return self._generation.prepare(exchange, admission, wire, spec, record)
        if wire.keep_alive is not None and seconds_of(wire.keep_alive) == 0:
            message = (
                "Models are unloaded by this server's operator: `fjord models unload` does it. "
                "Others may use them."
            )
            raise ApiError(403, "INSUFFICIENT_PERMISSIONS", message, param="keep_alive")
        return self._load(exchange, wire, record)

    async def run(self, exchange: Exchange, prepared: Prepared) -> int:
        if isinstance(prepared, Call):
            return await self._generation.run(exchange, prepared)
        return await self._loading.run(exchange, prepared)

    def _load(self, exchange: Exchange, wire: W, record: UsageRecord) -> SingleRun:
        """Costs nothing and leaves no record."""

        async def work(engine: Engine) -> bytes:
            members = {"model": wire.model, "created_at": now_text(), **self._form.said("")}
            return msgspec.json.encode({**members, "done": True, "done_reason": "load"})

        return self._loading.job(exchange, wire, record, work)
