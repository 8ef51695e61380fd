"""GET /v1/models: the aliases that the caller's key may use."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, NotRequired

import msgspec
from pydantic import Field
from typing_extensions import TypedDict

from engines.fleet.view import State
from engines.registry.names import exact_names
from engines.registry.spec import ModelSpec, Price, Task
from engines.speech import TOKENS_A_SECOND
from engines.weights.packages import model_name
from server.accounts.limits import Admission
from server.api.endpoint import KeyedEndpoint
from server.api.messages.errors import ANTHROPIC
from server.api.messages.wire_answers import ModelInfo, ModelInfos
from server.errors import not_found
from server.http.exchange import Exchange
from server.http.request_log import RequestLine
from server.ledger.money import decimal_text
from server.ledger.records import Caller

DETAILS = b"details=true"

log = logging.getLogger("fjord.api")


class ShownPrice(TypedDict):
    """Of a million tokens each, as decimals."""

    currency: str
    input: str
    cached_input: str
    output: str
    per_second: NotRequired[Annotated[str, Field(description="Of a recording")]]


class ModelDetails(TypedDict, total=False):
    """What `?details=true` tells beside: for an operator."""

    task: Task
    weights: str
    also_known_as: Sequence[str]
    engine: str
    state: State
    context_tokens: int
    output_tokens: int
    input_modalities: Sequence[Literal["text", "image", "audio"]]
    images: Annotated[int, Field(description="The most pictures of one request")]
    preload: bool
    reasoning_efforts: Annotated[Sequence[str], Field(description="Those that it has")]
    thought_tokens: Annotated[
        Mapping[str, int],
        Field(description="The most of a thought: by effort, by `default`, and at all (`most`)"),
    ]
    price: Annotated[ShownPrice | None, Field(description="null: none in the key's currency")]


class Model(ModelDetails):
    id: Annotated[str, Field(description="The alias that requests name", examples=["mixtral-8x7b"])]
    object: Literal["model"]
    owned_by: Literal["wayscloud"]
    created: int


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


class _ModelsEndpoint(KeyedEndpoint):
    """Anthropic's clients, which say so, get models and errors in Anthropic's form."""

    method = "GET"

    def _known(self, exchange: Exchange, line: RequestLine) -> Caller:
        if is_anthropics(exchange):
            exchange.answer_in(ANTHROPIC)
        return super()._known(exchange, line)


def is_anthropics(exchange: Exchange) -> bool:
    return exchange.header(b"anthropic-version") is not None


class ListModels(_ModelsEndpoint):
    """GET /v1/models and /v1/llm/models."""

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        services = self.services
        registry = services.registry
        specs = [registry.models[a] for a in services.usable(admission.caller)]
        if is_anthropics(exchange):
            return await self._answered_to_anthropics(exchange, specs)
        models = [model_body(spec, spec.alias) for spec in specs]
        if exchange.scope.get("query_string") == DETAILS:
            details = self._details(specs, admission.caller)
            models = [{**a, **b} for a, b in zip(models, details, strict=True)]
        if registry.list_other_names:
            others = [(s, name) for s in specs for name in exact_names(s.also_known_as)]
            models += [model_body(spec, name) for spec, name in others]
        self.services.metrics.answered("", self.endpoint, 200)
        answer: ModelList = {"object": "list", "data": models}
        await exchange.reply(200, msgspec.json.encode(answer))
        return 0

    async def _answered_to_anthropics(self, exchange: Exchange, specs: Sequence[ModelSpec]) -> int:
        """All on one page, with the other names that clients know them by."""
        names = [(s, name) for s in specs for name in (s.alias, *exact_names(s.also_known_as))]
        self.services.metrics.answered("", self.endpoint, 200)
        answer: ModelInfos = {
            "data": [model_info(spec, name) for spec, name in names],
            "has_more": False,
            "first_id": names[0][1] if names else None,
            "last_id": names[-1][1] if names else None,
        }
        await exchange.reply(200, msgspec.json.encode(answer))
        return 0

    def _details(self, specs: Sequence[ModelSpec], caller: Caller) -> list[ModelDetails]:
        """What an operator asks for, and what the key pays; no path of this machine."""
        currency = self.services.currency(caller)
        engines = [e for e in self.services.fleet.statuses() if e.is_first]
        states = {a: e.state for e in engines for a in e.aliases}
        names = {spec.engine.source: model_name(spec.engine.source) for spec in specs}
        return [
            {
                "task": s.engine.task,
                "weights": "@".join(filter(None, (names[s.engine.source], s.engine.revision))),
                "also_known_as": s.also_known_as,
                "engine": s.engine.kind,
                "state": states[s.alias],
                "context_tokens": s.context_tokens,
                "output_tokens": s.output_tokens,
                "input_modalities": modalities_of(s),
                "images": s.most_images,
                "preload": s.preload,
                "reasoning_efforts": s.efforts,
                "thought_tokens": s.thought_bounds.named,
                "price": shown_price(s, self.services.known_price(s, caller), currency),
            }
            for s in specs
        ]


class OneModel(_ModelsEndpoint):
    """GET /v1/models/{id} and /v1/llm/models/{id}."""

    async def serve(self, exchange: Exchange, admission: Admission) -> int:
        name = exchange.scope["path_params"]["model"]
        if not name:
            raise not_found(exchange.scope["path"])
        spec = self.services.model(name, admission.caller)
        self.services.metrics.answered(spec.alias, self.endpoint, 200)
        body = model_info(spec, name) if is_anthropics(exchange) else model_body(spec, name)
        await exchange.reply(200, msgspec.json.encode(body))
        return 0


def model_body(spec: ModelSpec, name: str) -> Model:
    """The documented four members; `name`: the alias, or what else the model is asked for by."""
    return {
        "id": name,
        "object": "model",
        "owned_by": "wayscloud",
        "created": spec.created,
    }


def model_info(spec: ModelSpec, name: str) -> ModelInfo:
    """In Anthropic's form."""
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": datetime.fromtimestamp(spec.created, UTC).isoformat(),
        "lifecycle": "active",
        "max_input_tokens": spec.context_tokens,
        "max_tokens": spec.output_tokens,
    }


def price_body(price: Price | None, currency: str) -> ShownPrice | None:
    """Per million tokens, decimals; None where the alias has no price in the key's currency."""
    if price is None:
        return None
    return {
        "currency": currency,
        "input": decimal_text(price.input),
        "cached_input": decimal_text(price.cached_input),
        "output": decimal_text(price.output),
    }


def modalities_of(spec: ModelSpec) -> list[Literal["text", "image", "audio"]]:
    if spec.engine.task == "transcribe":
        return ["audio"]
    return ["text", "image"] if spec.most_images else ["text"]


def shown_price(spec: ModelSpec, price: Price | None, currency: str) -> ShownPrice | None:
    """As `price_body`; of a model of speech what a second costs, too."""
    shown = price_body(price, currency)
    if shown is not None and price is not None and spec.engine.task == "transcribe":
        shown["per_second"] = decimal_text(price.input * TOKENS_A_SECOND // 1_000_000)
    return shown
