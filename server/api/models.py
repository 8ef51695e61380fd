"""GET /v1/models: the aliases that the caller's key may use."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from engines.registry.spec import ModelSpec
from engines.weights.packages import model_name
from server.accounts.limits import Admission
from server.api.endpoint import KeyedEndpoint
from server.errors import not_found
from server.http.exchange import Exchange

DETAILS = b"details=true"

log = logging.getLogger("fjord.api")


class ModelList(KeyedEndpoint):
    """GET /v1/models and /v1/llm/models."""

    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        services = self.services
        specs = [services.registry.models[a] for a in services.usable(admission.caller)]
        models = [model_body(spec) for spec in specs]
        if exchange.scope.get("query_string") == DETAILS:
            models = [a | b for a, b in zip(models, self._details(specs), strict=True)]
        self.services.metrics.answered("", self.endpoint, 200)
        await exchange.reply(200, msgspec.json.encode({"object": "list", "data": models}))
        return 0

    def _details(self, specs: Sequence[ModelSpec]) -> list[dict[str, Any]]:
        """What an operator asks for; no path of this machine."""
        states = {a: e.state for e in self.services.fleet.statuses() for a in e.aliases}
        names = {spec.engine.source: model_name(spec.engine.source) for spec in specs}
        return [
            {
                "weights": "@".join(filter(None, (names[s.engine.source], s.engine.revision))),
                "engine": s.engine.kind,
                "state": states[s.alias],
                "context_tokens": s.context_tokens,
                "output_tokens": s.output_tokens,
                "preload": s.preload,
            }
            for s in specs
        ]


class OneModel(KeyedEndpoint):
    """GET /v1/models/{id} and /v1/llm/models/{id}."""

    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        alias = exchange.scope["path_params"]["model"]
        if not alias:
            raise not_found(exchange.scope["path"])
        spec = self.services.model(alias, admission.caller)
        self.services.metrics.answered(alias, self.endpoint, 200)
        await exchange.reply(200, msgspec.json.encode(model_body(spec)))
        return 0


def model_body(spec: ModelSpec) -> dict[str, Any]:
    """The documented four members."""
    return {
        "id": spec.alias,
        "object": "model",
        "owned_by": "wayscloud",
        "created": spec.created,
    }
