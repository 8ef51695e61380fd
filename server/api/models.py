"""GET /v1/models: the aliases that the caller's key may use."""

import logging
from typing import Any

import msgspec

from engines.registry.spec import ModelSpec
from server.accounts.limits import Admission
from server.api.endpoint import KeyedEndpoint
from server.errors import not_found
from server.http.exchange import Exchange

log = logging.getLogger("fjord.api")


class ModelList(KeyedEndpoint):
    """GET /v1/models and /v1/llm/models."""

    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        services = self.services
        models = [
            model_body(services.registry.models[a]) for a in services.usable(admission.caller)
        ]
        self.services.metrics.answered("", self.endpoint, 200)
        await exchange.reply(200, msgspec.json.encode({"object": "list", "data": models}))
        return 0


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
