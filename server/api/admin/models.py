"""/admin/v1/models: the models as their operator sees them, and what he tells the fleet of each."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import closing
from functools import lru_cache
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from engines.fleet.commands import COMMANDS, Command
from engines.fleet.device_memory import HOST
from engines.fleet.fleet import Fleet
from engines.fleet.status import EngineStatus
from engines.fleet.view import State
from engines.registry.durations import duration_text
from engines.registry.entries import PINNED
from engines.registry.registry import Registry
from engines.registry.spec import Load, ModelSpec
from engines.weights.packages import model_name
from server.api.admin.reach import Reached
from server.api.audited import actor_of, noted
from server.api.services import Services
from server.errors import ApiError, brief
from server.ledger.ledger import Ledger
from server.ledger.owner_store import OwnerStore

SUMMARIES: dict[Command, str] = {
    "load": "Load its engine, as a request would; also where no request may",
    "unload": "Stop its engine once its requests have ended; a request loads it again",
    "sleep": "Give its cards' memory back once its requests have ended; a request wakes it",
    "pin": "Keep its engine: it makes room for no other, and does not end when idle",
    "unpin": "Take the pin away, also the registry's, until the server starts anew",
}


_called = lru_cache(1024)(model_name)
"""A package's files are listed in 200 µs."""


class OperatedModel(BaseModel):
    """An alias, and the engine that it shares with others of the same weights and arguments."""

    alias: str
    shares_with: list[str] = Field(description="The other aliases of its engine")
    weights: str
    engine: str
    """vllm, llamacpp or scripted."""
    state: State = Field(description="Of replicas: that of the one which serves or comes next")
    replicas: int = Field(description="Equal engines that the registry asks for")
    ready_replicas: int = Field(description="Those of them that serve")
    for_s: float = Field(description="Seconds in that state")
    reason: str | None = Field(description="Why it failed, or broke last; what its start waits for")
    command: str | None = Field(description="load, unload or sleep, while it is under way")
    load: Load = Field(description="The registry's: when it is loaded")
    preload: bool
    is_open: bool = Field(description="false: requests are refused until an operator loads it")
    is_pinned: bool
    keep: str | None = Field(description="pinned, or how long it stays idle; null: no bound")
    planned_bytes: int | None = Field(
        description="Of all its devices, all replicas together; null: unknown"
    )
    measured_bytes: int | None = Field(description="Seen to be taken of them; null: unknown")
    cards: list[int] = Field(description="Where it stands; none on the machine's own memory")
    is_on_host: bool = Field(description="It takes of the machine's own memory")
    sleep_level: int = Field(
        description="Asleep or on its way: 1, its weights are in the machine's memory; 2, they are "
        "read again. 0: awake"
    )
    asleep_bytes: int = Field(description="Of its weights, in the machine's memory for its sleep")
    requests: int | None = Field(description="So here and below null: to an owner's people")
    waiting: int | None
    last_used: float | None = Field(description="Unix seconds; null: not since the start")
    loads: int | None
    restarts: int | None
    percent: int | None = Field(description="Of its weights, while they are fetched")
    position: int | None = Field(description="Among those that wait for the same memory")
    eta_s: int | None
    context_tokens: int
    output_tokens: int


class OperatedModels(BaseModel):
    models: list[OperatedModel]


def add_model_routes(router: APIRouter, services: Services) -> None:
    @router.get(
        "/models", summary="All models with their engines' state, memory, queue and last use"
    )
    async def list_models(reach: Reached) -> OperatedModels:
        """An owner's people see the models that the owner may know of, without what all owners
        together do with them."""
        models = operated_models(services.fleet, services.registry)
        if reach.owner is None:
            return OperatedModels(models=list(models))
        known = await known_to(services, reach.owner)
        return OperatedModels(models=[narrowed(m, known) for m in models if m.alias in known])

    for command in COMMANDS:
        _add_command(router, services, command)


async def known_to(services: Services, owner: str | None) -> Set[str]:
    """The aliases that an owner's people may know of; None: all of them."""
    models = services.registry.models
    if owner is None:
        return models.keys()
    words = await asyncio.to_thread(_words_of, services.ledger, owner)
    return {spec.alias for spec in models.values() if spec.is_known_to(words)}


def _words_of(ledger: Ledger, owner: str) -> Set[str]:
    """The name and the id of an owner, as the registry may say them."""
    with closing(ledger.open_books()) as books:
        found = OwnerStore(books).find(owner)
    return {owner} if found is None else {owner, found.owner_id}


M = TypeVar("M", bound=OperatedModel)
UNTOLD: Final = ("requests", "waiting", "last_used", "loads", "restarts", "reason", "position")


def narrowed(model: M, known: Set[str]) -> M:
    """For an owner's people."""
    shared = [alias for alias in model.shares_with if alias in known]
    return model.model_copy(update={**dict.fromkeys(UNTOLD), "shares_with": shared})


def _add_command(router: APIRouter, services: Services, command: Command) -> None:
    alias_text = InPath(description="An alias, or what else the model is known as")

    async def give(alias: Annotated[str, alias_text], request: Request) -> OperatedModel:
        """Begun, not done: `command` of GET /admin/v1/models says while it is under way."""
        spec = services.registry.names.find(alias)
        if spec is None:
            message = (
                f"Unknown model {brief(alias)!r}; known: {', '.join(services.registry.models)}."
            )
            raise ApiError(404, "MODEL_NOT_FOUND", message, param="alias")
        await noted(services, actor_of(request.scope), f"model.{command}", spec.alias)
        await services.fleet.commands.give(command, spec.alias)
        if command == "load" and spec.adapter is not None:
            services.fleet.renewal.begin_adapter(spec.adapter)
        return next(
            m for m in operated_models(services.fleet, services.registry) if m.alias == spec.alias
        )

    router.add_api_route(
        f"/models/{{alias:path}}/{command}",
        give,
        methods=["POST"],
        name=f"{command}_model",
        summary=SUMMARIES[command],
    )


def operated_models(fleet: Fleet, registry: Registry) -> Iterator[OperatedModel]:
    """In the registry's order."""
    engines: dict[str, list[EngineStatus]] = {}
    for status in sorted(fleet.statuses(), key=lambda status: not status.is_first):
        for alias in status.aliases:
            engines.setdefault(alias, []).append(status)
    outlooks = fleet.outlooks(registry.models)
    for alias, spec in registry.models.items():
        found = outlooks[alias].facts()
        way = {name: found[name] for name in ("percent", "position", "eta_s")}
        yield OperatedModel.model_validate(
            _of_spec(spec) | _of_engines(alias, engines[alias]) | way
        )


def _of_spec(spec: ModelSpec) -> dict[str, Any]:
    named = (_called(spec.engine.source), spec.engine.revision)
    laid_over = "" if spec.adapter is None else f"+{_called(spec.adapter.origin)}"
    return {
        "alias": spec.alias,
        "weights": "@".join(filter(None, named)) + laid_over,
        "engine": spec.engine.kind,
        "load": spec.load,
        "preload": spec.preload,
        "context_tokens": spec.context_tokens,
        "output_tokens": spec.output_tokens,
    }


def _of_engines(alias: str, engines: Sequence[EngineStatus]) -> dict[str, Any]:
    """`engines`: its replicas, the one first that serves or comes next."""
    first = engines[0]
    devices = {device for engine in engines for device in engine.devices}
    commands = [engine.command for engine in engines if engine.command]
    return {
        "shares_with": [other for other in first.aliases if other != alias],
        "state": first.state,
        "replicas": len(engines),
        "ready_replicas": sum(engine.state == "ready" for engine in engines),
        "for_s": round(time.time() - first.since, 1),
        "reason": next(filter(None, (each.waits_for or each.reason for each in engines)), None),
        "command": next(iter(commands), None),
        "is_open": alias not in first.closed,
        "is_pinned": first.is_pinned,
        "keep": _keep(first),
        "planned_bytes": _sum(engine.planned_bytes for engine in engines),
        "measured_bytes": _sum(engine.measured_bytes for engine in engines),
        "cards": sorted(device for device in devices if device != HOST),
        "is_on_host": HOST in devices,
        "sleep_level": first.sleep.level,
        "asleep_bytes": sum(engine.sleep.host_bytes for engine in engines),
        "requests": sum(engine.leases for engine in engines),
        "waiting": sum(engine.waiting for engine in engines),
        "last_used": max((e.used_at for e in engines if e.used_at is not None), default=None),
        "loads": sum(engine.loads for engine in engines),
        "restarts": sum(engine.restarts for engine in engines),
    }


def _sum(sizes: Iterable[int | None]) -> int | None:
    """Of those that are known; None: none is."""
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


def _keep(engine: EngineStatus) -> str | None:
    if engine.is_pinned:
        return PINNED
    return None if engine.keep_s is None else duration_text(engine.keep_s)
