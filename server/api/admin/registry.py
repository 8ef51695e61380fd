"""GET /admin/v1/registry and /admin/v1/registry/{alias}: the registry as it runs."""

from collections.abc import Iterator, Set
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from engines.registry.durations import duration_text
from engines.registry.registry import Registry
from engines.registry.spec import Load, ModelSpec, Task
from engines.weights.packages import model_name
from server.api.admin.model_plans import ModelPlan, model_plan
from server.api.admin.models import OperatedModel, known_to, narrowed, operated_models
from server.api.admin.reach import Reached
from server.api.models import ShownPrice, modalities_of, shown_price
from server.api.services import Services
from server.errors import ApiError, brief
from server.ledger.money import MICRO

_SECRET: Final = frozenset({"hf_token", "api_key"})


class RegisteredModel(BaseModel):
    """What the registry says of an alias, and how its engine was planned at the start."""

    alias: str
    also_known_as: list[str]
    task: Task
    engine: str
    weights: str
    revision: str | None
    file: str | None = Field(description="llamacpp: the GGUF's name")
    adapter: str | None = Field(description="What is laid over the weights")
    base: str | None = Field(description="With an adapter: the alias that it is laid over")
    context_tokens: int
    output_tokens: int
    load: Load
    keep: str | None
    is_pinned: bool
    replicas: int
    nodes: list[str] = Field(description="That serve it; empty: each that has it")
    input_modalities: list[Literal["text", "image", "audio"]]
    images: int = Field(description="The most pictures of one request")
    thinks: bool
    reasoning_efforts: list[str]
    thought_tokens: dict[str, int]
    calls_tools: bool
    dimensions: list[int] | Literal["any"]
    prices: list[ShownPrice] = Field(description="In the registry's currency, then by its rates")
    defaults: dict[str, Any] = Field(description="Where they differ from the API's")
    owners: list[str] | None = Field(description="Whose keys alone know of it; null: everybody's")
    engine_args: dict[str, Any] | None = Field(
        description="The engine's own; null: they are not told to people of one owner"
    )
    plan: ModelPlan | None = Field(description="null: nothing was known of its weights then")


class RunningRegistry(BaseModel):
    profile: str
    profiles: list[str]
    currency: str
    rates: dict[str, Decimal] = Field(description="One unit of the currency in others")
    batch_price_factor: Decimal
    regions: list[str]
    cards: list[str]
    turns: int = Field(description="How many groups of models take turns on the cards; 0: unknown")
    models: list[RegisteredModel]


class ModelSheet(BaseModel):
    operated: OperatedModel
    registered: RegisteredModel


def add_running_registry_routes(router: APIRouter, services: Services) -> None:
    @router.get("/registry", summary="The registry as it runs: models, prices, limits, plan")
    async def show_registry(reach: Reached) -> RunningRegistry:
        names = await known_to(services, reach.owner)
        is_site = reach.owner is None
        return _registry(services, list(_registered(services, names, is_site=is_site)))

    @router.get("/registry/{alias:path}", summary="One model: its engine, and its registry's entry")
    async def show_model(
        alias: Annotated[str, InPath(description="An alias, or what else the model is known as")],
        reach: Reached,
    ) -> ModelSheet:
        names, is_site = await known_to(services, reach.owner), reach.owner is None
        spec = services.registry.names.find(alias)
        if spec is None or spec.alias not in names:
            message = f"Unknown model {brief(alias)!r}; known: {', '.join(sorted(names))}."
            raise ApiError(404, "MODEL_NOT_FOUND", message, param="alias")
        every = operated_models(services.fleet, services.registry)
        operated = next(each for each in every if each.alias == spec.alias)
        return ModelSheet(
            operated=operated if is_site else narrowed(operated, names),
            registered=_model(services, spec, names, is_site=is_site),
        )


def _registry(services: Services, models: list[RegisteredModel]) -> RunningRegistry:
    registry, plan = services.registry, services.fleet.memory.plan
    return RunningRegistry(
        profile=registry.profile,
        profiles=list(registry.profiles),
        currency=registry.currency,
        rates={name: Decimal(rate) / MICRO for name, rate in registry.rates.items()},
        batch_price_factor=Decimal(registry.batch_price_factor) / MICRO,
        regions=list(registry.regions),
        cards=[] if plan is None else [str(card) for card in plan.machine.cards],
        turns=0 if plan is None else plan.turns,
        models=models,
    )


def _registered(services: Services, known: Set[str], *, is_site: bool) -> Iterator[RegisteredModel]:
    for spec in services.registry.models.values():
        if spec.alias in known:
            yield _model(services, spec, known, is_site=is_site)


def _model(
    services: Services, spec: ModelSpec, known: Set[str], *, is_site: bool
) -> RegisteredModel:
    plan = services.fleet.memory.plan
    return RegisteredModel.model_validate(
        _weights(spec)
        | _limits(spec)
        | _abilities(spec)
        | {
            "prices": list(_prices(services.registry, spec)),
            "defaults": dict(spec.defaults),
            "owners": sorted(spec.owners) if spec.owners and is_site else None,
            "engine_args": _told_args(spec) if is_site else None,
            "plan": None if plan is None else model_plan(plan, spec.alias, known),
        }
    )


def _weights(spec: ModelSpec) -> dict[str, Any]:
    adapter = spec.adapter
    return {
        "alias": spec.alias,
        "also_known_as": list(spec.also_known_as),
        "task": spec.engine.task,
        "engine": spec.engine.kind,
        "weights": model_name(spec.engine.source),
        "revision": spec.engine.revision,
        "file": spec.engine.file,
        "adapter": None if adapter is None else model_name(adapter.origin),
        "base": spec.base or None,
    }


def _limits(spec: ModelSpec) -> dict[str, Any]:
    return {
        "context_tokens": spec.context_tokens,
        "output_tokens": spec.output_tokens,
        "load": spec.load,
        "keep": None if spec.keep_s is None else duration_text(spec.keep_s),
        "is_pinned": spec.is_pinned,
        "replicas": spec.replicas,
        "nodes": list(spec.nodes),
    }


def _abilities(spec: ModelSpec) -> dict[str, Any]:
    any_length = spec.dimensions == "any"
    return {
        "input_modalities": modalities_of(spec),
        "images": spec.most_images,
        "thinks": spec.reasoning is not None,
        "reasoning_efforts": list(spec.efforts),
        "thought_tokens": spec.thought_bounds.named,
        "calls_tools": spec.engine.task == "generate" and spec.call_parser is not None,
        "dimensions": "any" if any_length else list(spec.dimensions),
    }


def _prices(registry: Registry, spec: ModelSpec) -> Iterator[ShownPrice]:
    for currency in (registry.currency, *registry.rates):
        shown = shown_price(spec, registry.price_in(currency, spec.price), currency)
        if shown is not None:
            yield shown


def _told_args(spec: ModelSpec) -> dict[str, Any]:
    """A hub's token is nobody's to read."""
    return {name: "…" if name in _SECRET else value for name, value in spec.engine.args.items()}
