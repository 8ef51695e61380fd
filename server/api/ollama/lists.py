"""What Ollama's clients ask about models: which there are, which run, what one is able to do."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from engines.fleet.status import EngineStatus
from engines.registry.spec import ModelSpec
from engines.weights.packages import model_name
from server.accounts.limits import Admission
from server.api.admin.gate import MOST_BODY_BYTES
from server.api.content_type import check_content_type
from server.api.decode import decoded
from server.api.endpoint import KeyedEndpoint
from server.api.ollama.wire import NAMED_MODEL, untagged
from server.api.ollama.wire_answers import (
    ListedModel,
    OllamaDetails,
    OllamaVersion,
    RunningModel,
    ShownModel,
)
from server.errors import ApiError
from server.http.exchange import Exchange
from server.ledger.records import Caller

SPOKEN: Final = "0.18.0"
"""The version of Ollama whose API this is: editors ask for at least 0.6.4, and read numbers."""
_FOR_EVER = "9999-12-31T23:59:59Z"
_FORMATS = {"llamacpp": "gguf", "vllm": "safetensors"}


class SpokenVersion(KeyedEndpoint):
    """GET /api/version."""

    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        answer: OllamaVersion = {"version": SPOKEN}
        return await _told(self, exchange, answer)


class TagsList(KeyedEndpoint):
    """GET /api/tags: the aliases that the key may use."""

    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        return await _told(self, exchange, {"models": [listed(s) for s in self._specs(admission)]})

    def _specs(self, admission: Admission) -> list[ModelSpec]:
        models = self.services.registry.models
        return [models[alias] for alias in self.services.usable(admission.caller)]


class RunningList(KeyedEndpoint):
    """GET /api/ps: those of them that serve now."""

    method = "GET"

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        usable = set(self.services.usable(admission.caller))
        return await _told(self, exchange, {"models": list(self._running(usable))})

    def _running(self, usable: set[str]) -> Iterator[RunningModel]:
        models = self.services.registry.models
        for status in self.services.fleet.statuses():
            if status.state != "ready" or not status.is_first:
                continue
            yield from (_running(models[a], status) for a in status.aliases if a in usable)


class ShowModel(KeyedEndpoint):
    """POST /api/show: one model; nothing of its weights' place, nor its template."""

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        spec = await named(self, exchange, admission.caller)
        return await _told(self, exchange, _shown(spec), spec.alias)


class PullModel(KeyedEndpoint):
    """POST /api/pull: what is served is here already; nothing else is fetched for a client."""

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        spec = await named(self, exchange, admission.caller)
        return await _told(self, exchange, {"status": "success"}, spec.alias)


class OperatorsAlone(KeyedEndpoint):
    """What changes models is the operator's: each of these is refused, saying how it is done."""

    def __init__(self, services: Any, endpoint: str, method: str = "POST") -> None:
        super().__init__(services, endpoint)
        self.method = method

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        await exchange.body(MOST_BODY_BYTES)
        message = (
            "Models are made, copied and removed by this server's operator: in its registry, "
            "which `fjord apply` reads."
        )
        raise ApiError(403, "INSUFFICIENT_PERMISSIONS", message)


async def named(endpoint: KeyedEndpoint, exchange: Exchange, caller: Caller) -> ModelSpec:
    """The model that a body names. Raises ApiError 400, 404, and 403 where the key may not."""
    services = endpoint.services
    check_content_type(exchange)
    body = await exchange.body(MOST_BODY_BYTES)
    wire = await decoded(NAMED_MODEL, body, services.long_bodies)
    name = wire.model or wire.name
    if name is None:
        raise ApiError.invalid("Missing required field: model.", "model", None, "a model's name")
    return services.model(untagged(name), caller)


async def _told(endpoint: KeyedEndpoint, exchange: Exchange, answer: Any, alias: str = "") -> int:
    endpoint.services.metrics.answered(alias, endpoint.endpoint, 200)
    await exchange.reply(200, msgspec.json.encode(answer))
    return 0


def listed(spec: ModelSpec) -> ListedModel:
    """One model as lists have it. Its size is not told: weights may be anywhere."""
    return {
        "name": spec.alias,
        "model": spec.alias,
        "modified_at": datetime.fromtimestamp(spec.created, UTC).isoformat(),
        "size": 0,
        "digest": hashlib.sha256(spec.engine.group.encode()).hexdigest(),
        "details": _details(spec),
    }


def _details(spec: ModelSpec) -> OllamaDetails:
    family = spec.alias.split("-", 1)[0]
    return {
        "parent_model": "",
        "format": _FORMATS.get(spec.engine.kind, ""),
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": str(spec.engine.args.get("quantization") or ""),
    }


def _running(spec: ModelSpec, status: EngineStatus) -> RunningModel:
    taken = status.measured_bytes or status.planned_bytes or 0
    on_cards = taken - status.need.host_bytes if status.need and status.devices else 0
    return {
        **listed(spec),
        "size": taken,
        "size_vram": max(0, on_cards),
        "expires_at": _expiry(status),
        "context_length": spec.context_tokens,
    }


def _expiry(status: EngineStatus) -> str:
    if status.keep_s is None or status.is_pinned:
        return _FOR_EVER
    return datetime.fromtimestamp((status.used_at or status.since) + status.keep_s, UTC).isoformat()


def _shown(spec: ModelSpec) -> ShownModel:
    family = spec.alias.split("-", 1)[0]
    return {
        "modelfile": f"FROM {model_name(spec.engine.source)}",
        "parameters": "\n".join(f"{name:<30} {value}" for name, value in spec.defaults.items()),
        "template": "",
        "license": "",
        "modified_at": listed(spec)["modified_at"],
        "details": _details(spec),
        "model_info": {
            "general.architecture": family,
            "general.basename": spec.alias,
            f"{family}.context_length": spec.context_tokens,
        },
        "capabilities": _capabilities(spec),
    }


def _capabilities(spec: ModelSpec) -> list[str]:
    if spec.engine.task == "embed":
        return ["embedding"]
    if spec.engine.task != "generate":
        return []
    able = {"completion": True, "tools": bool(spec.call_parser), "thinking": bool(spec.reasoning)}
    able["vision"] = spec.most_images > 0
    return [name for name, is_able in able.items() if is_able]
