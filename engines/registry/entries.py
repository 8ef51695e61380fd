"""What may stand in model_registry.yaml: each key with its type, bounds and what would be right."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from engines.registry.access import AccessEntry
from engines.registry.cluster import ClusterName
from engines.registry.complaints import GGUF_NAME
from engines.registry.currency import CURRENCIES, Currency
from engines.registry.durations import LONGEST_S, seconds_of
from engines.registry.exact import MICRO, micro_units
from engines.registry.names import MOST_NAME
from engines.registry.seller import SellerEntry
from engines.registry.spec import MOST_IMAGES, MOST_REPLICAS, Effort, Load, Task

PINNED = "pinned"
MOST_PRICE = 1_000_000 * MICRO
MOST_SECOND_PRICE = 50 * MICRO
"""As much as MOST_PRICE, at so many tokens a second as are billed."""
MOST_RATE = 1_000 * MICRO
MOST_TOKENS = 2**31 - 1
"""What engines count them in."""
MOST_DIMENSIONS = 2**20
_YEAR_10000 = 253_402_300_800


def _tokens(value: Any) -> Any:
    if isinstance(value, str) and (m := re.fullmatch(r"(\d+)K", value)):
        return int(m[1]) * 1024
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("not a number of tokens")


def _price(value: Any) -> int:
    """So bounded, no sum of records leaves the ledger's 64 bits."""
    micro = micro_units(value)
    if micro > MOST_PRICE:
        raise ValueError("a price is at most 1000000")
    return micro


def _second_price(value: Any) -> int:
    micro = micro_units(value, "price_per_second")
    if micro > MOST_SECOND_PRICE:
        raise ValueError("a price_per_second is at most 50")
    return micro


def _rate(value: Any) -> int:
    micro = micro_units(value, "rate")
    if not 0 < micro <= MOST_RATE:
        raise ValueError("a rate is above 0 and at most 1000")
    return micro


def _price_factor(value: Any) -> int:
    micro = micro_units(value, "price_factor")
    if not 0 <= micro <= MICRO:
        raise ValueError("a price_factor is from 0 to 1")
    return micro


def _keep(value: Any) -> Any:
    return value if value == PINNED else seconds_of(value)


def _dimensions(value: Any) -> Any:
    if value == "any":
        return value
    if not isinstance(value, list):
        raise ValueError("it is no list")
    for each in value:
        if not isinstance(each, int) or isinstance(each, bool):
            raise ValueError("it is no list of whole numbers")
        if not 1 <= each <= MOST_DIMENSIONS:
            raise ValueError(f"the most is {MOST_DIMENSIONS}" if each > 0 else "the least is 1")
    return value


Tokens = Annotated[int, BeforeValidator(_tokens), Field(ge=1, le=MOST_TOKENS)]
ThoughtTokens = Annotated[int, BeforeValidator(_tokens), Field(ge=0, le=MOST_TOKENS)]
Money = Annotated[int, BeforeValidator(_price)]
SecondMoney = Annotated[int, BeforeValidator(_second_price)]
Rate = Annotated[int, BeforeValidator(_rate)]
PriceFactor = Annotated[int, BeforeValidator(_price_factor)]
Text = Annotated[str, StringConstraints(min_length=1)]
ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
Alias = Annotated[str, StringConstraints(pattern=ALIAS)]
OtherName = Annotated[
    str, StringConstraints(pattern=ALIAS.replace("$", r"\*?$"), max_length=MOST_NAME)
]
Keep = Annotated[float | Literal["pinned"], BeforeValidator(_keep)]
NodeName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
MOST_SHARED_PROMPTS = 32
SharedPrompt = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
PrefixCache = Literal["per_owner", "shared"]
EngineKind = Literal["vllm", "llamacpp", "scripted"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PriceEntry(_Strict):
    """Decimal strings of the registry's currency per million tokens; kept in micro-units."""

    input: Money = Field(description='a decimal in quotes, at most 6 places, like "2.50"')
    cached_input: Money | None = Field(
        None, description='a decimal in quotes, like "0.25"; without it, the price of input'
    )
    output: Money = Field(description='a decimal in quotes, at most 6 places, like "7.50"')


class ReasoningEntry(_Strict):
    """How the model marks its thinking."""

    start: Text = Field("<think>", description="the token that opens the thinking")
    end: Text = Field("</think>", description="the token that ends the thinking")
    opened_by: Literal["template", "model"] = Field(
        description='"template" where the chat template ends with the opening token, else "model"'
    )
    budgets: dict[Effort, ThoughtTokens] = Field(
        {}, description="reasoning_effort to the most tokens of a thought: {low: 1K, high: 8K}"
    )
    budget: ThoughtTokens | None = Field(
        None, description="the most tokens of a thought where a request asks for none, like 8K"
    )
    most: Tokens | None = Field(
        None, description="the most tokens that any request's thought may have, like 32K"
    )


def _number(least: float, most: float) -> Any:
    words = f"a number from {least:g} to {most:g}"
    return Field(None, ge=least, le=most, allow_inf_nan=False, description=words)


class DefaultsEntry(_Strict):
    """Request fields whose default a model may have otherwise, in the contract's ranges."""

    temperature: float | None = _number(0, 2)
    top_p: float | None = _number(0, 1)
    min_p: float | None = _number(0, 1)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1, description="an integer; 0: all tokens")
    presence_penalty: float | None = _number(-2, 2)
    frequency_penalty: float | None = _number(-2, 2)
    repetition_penalty: float | None = _number(0.01, 2)
    max_tokens: int | None = Field(
        None, ge=1, le=MOST_TOKENS, description="an integer of at least 1"
    )


class OtherEngine(_Strict):
    """How another engine runs the same weights."""

    args: dict[Text, Any] = Field({}, description="that engine's own argument names")


class ModelEntry(_Strict):
    """One model, or what a profile changes in one. Whether enough is there is seen afterwards."""

    source: Text | None = Field(
        None,
        description="a hub id (owner/name), a folder or file, or package:<distribution>",
    )
    revision: Text | None = Field(None, description="a commit, tag or branch of the hub")
    file: Text | None = Field(None, description="llamacpp: the GGUF's name within the source")
    projector: Annotated[str, StringConstraints(pattern=GGUF_NAME)] | None = Field(
        None, description="llamacpp: the name of the GGUF beside it that reads pictures"
    )
    adapter: Text | None = Field(
        None,
        description="a LoRA in PEFT's form that is laid over `base`: a folder, or the hub's "
        "owner/name",
    )
    adapter_revision: Text | None = Field(
        None, description="adapter: a commit, tag or branch of the hub"
    )
    base: Alias | None = Field(None, description="adapter: the alias whose weights it is laid over")
    engine: EngineKind = Field("vllm", description="vllm, llamacpp or scripted")
    task: Task = Field("generate", description="generate, embed, rerank or transcribe")
    args: dict[Text, Any] = Field(
        {}, description="a mapping of the engine's own argument names to values"
    )
    also: dict[EngineKind, OtherEngine] = Field(
        {}, description="other engines for these weights: {vllm: {args: {…}}}"
    )
    reasoning: ReasoningEntry | None = Field(
        None, description="{opened_by: template} or {opened_by: model, most: 32K}"
    )
    reasoning_efforts: dict[Text, dict[Text, Any]] = Field(
        {}, description="reasoning_effort to chat_template_kwargs: {none: {enable_thinking: false}}"
    )
    tool_parser: Text | None = Field(None, description="one of vLLM's tool parser names, or none")
    chat_template_kwargs: dict[Text, Any] = Field(
        {}, description="a mapping handed to the chat template"
    )
    free_chat_template_kwargs: list[Text] = Field(
        [], description="names in chat_template_kwargs that a request may set otherwise"
    )
    context: Tokens | None = Field(
        None, description="tokens, input and output together, like 32K (32768)"
    )
    output: Tokens | None = Field(
        None, description="the most tokens one answer may have, like 4K (4096)"
    )
    price: PriceEntry | None = Field(None, description='{input: "2.50", output: "7.50"}')
    price_per_second: SecondMoney | None = Field(
        None, description='transcribe: of a recording, a decimal in quotes, like "0.0001"'
    )
    load: Load | None = Field(None, description="start, demand or never")
    preload: bool = Field(False, description="true or false")
    keep: Keep | None = Field(
        None, description="pinned, or how long it stays when idle, like 90s, 10m or 2h"
    )
    start_timeout: Annotated[float, Field(gt=0, le=LONGEST_S)] | None = Field(
        None, description="seconds that the engine's start may take, like 1800, at most 366 days"
    )
    nodes: list[NodeName] = Field(
        [],
        max_length=MOST_REPLICAS,
        description="names of the site's nodes (FJORD_NODE) that serve it; others ask them",
    )
    replicas: Annotated[int, Field(ge=1, le=MOST_REPLICAS)] = Field(
        1, description=f"how many equal engines serve it, 1 to {MOST_REPLICAS}"
    )
    optional: bool = Field(
        False, description="true: left out where the source's package is not installed"
    )
    also_known_as: list[OtherName] = Field(
        [], description="other names a request may use, and prefix-*: [qwen3, claude-*]"
    )
    owners: Annotated[list[Text], Field(max_length=1000)] = Field(
        [], description="owners whose keys alone know of it: [acme]"
    )
    prefix_cache: PrefixCache = Field(
        "per_owner", description="per_owner, or shared: all keys find what any of them has asked"
    )
    shared_prompts: Annotated[list[SharedPrompt], Field(max_length=MOST_SHARED_PROMPTS)] = Field(
        [], description="system prompts whose cached beginning all owners find on vLLM, 32 at most"
    )
    created: Annotated[int, Field(ge=0, lt=_YEAR_10000)] = Field(
        1700000000, description="Unix seconds"
    )
    system_prompt: Text | None = Field(None, description="a text")
    defaults: DefaultsEntry = Field(
        DefaultsEntry(), description="request fields and their values, like {temperature: 0.2}"
    )
    dimensions: Annotated[list[int] | Literal["any"], BeforeValidator(_dimensions)] = Field(
        [], description="embed: a list of allowed vector lengths, or any"
    )
    images: Annotated[int, Field(ge=0, le=MOST_IMAGES)] = Field(
        0, description=f"the most pictures of one request, 0 (none are read) to {MOST_IMAGES}"
    )


class ProfileEntry(_Strict):
    """A named overlay: `all` over every model, then `models` one by one."""

    all: ModelEntry = Field(ModelEntry(), description="keys laid over every model")
    models: dict[Alias, ModelEntry] = Field({}, description="alias to keys laid over that model")


class BatchEntry(_Strict):
    """What holds for requests of batches."""

    price_factor: PriceFactor = Field(
        MICRO, description='what prices are multiplied by, a decimal in quotes, like "0.5"'
    )


class RegistryFile(_Strict):
    """The whole file."""

    currency: Currency = Field("NOK", description=f"one of {', '.join(CURRENCIES)}")
    rates: dict[Currency, Rate] = Field(
        {},
        description="another currency to what one unit of `currency` is in it, a decimal in "
        'quotes, at most 6 places: {EUR: "0.087"}',
    )
    regions: list[Text] = Field(["oslo"], min_length=1, description="a list of region names")
    seller: SellerEntry | None = Field(
        None, description="{name: …, address: …, organisation_number: …, vat_percent: …}"
    )
    list_other_names: bool = Field(False, description="true: the models list shows other names too")
    cluster: ClusterName | None = Field(None, description="ray, or ray://HOST:PORT")
    access: AccessEntry = Field(AccessEntry(), description="{issuers: [{name: …, issuer: …}]}")
    batch: BatchEntry = Field(BatchEntry(), description='{price_factor: "0.5"}')
    models: dict[Alias, ModelEntry] = Field(description="alias to model")
    profiles: dict[Text, ProfileEntry] = Field({}, description="profile name to overlay")
