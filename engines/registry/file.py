"""What may stand in model_registry.yaml: every key with its type and what would be right.

RegistryError   file, line, model, key, what is wrong and what would be right
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails

from engines.registry.complaints import complaint
from engines.registry.currency import CURRENCIES, Currency
from engines.registry.exact import MICRO, micro_units
from engines.registry.seller import SellerEntry
from engines.registry.yaml import Location, YamlFile, YamlFileError, read_yaml
from engines.spelling import did_you_mean

MOST_PRICE = 1_000_000 * MICRO
MOST_RATE = 1_000 * MICRO


class RegistryError(Exception):
    """The registry, or a choice from it, is wrong; the message has one line a mistake."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place or message
        """FILE:LINE and key: equal for what one mistake does to several models."""

    @classmethod
    def of_all(cls, mistakes: "Sequence[RegistryError]") -> "RegistryError":
        """One error that says them all."""
        return cls("\n".join(map(str, mistakes)))


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


def _rate(value: Any) -> int:
    micro = micro_units(value, "rate")
    if not 0 < micro <= MOST_RATE:
        raise ValueError("a rate is above 0 and at most 1000")
    return micro


Tokens = Annotated[int, BeforeValidator(_tokens), Field(ge=1)]
Money = Annotated[int, BeforeValidator(_price)]
Rate = Annotated[int, BeforeValidator(_rate)]
Text = Annotated[str, StringConstraints(min_length=1)]
ALIAS = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
Alias = Annotated[str, StringConstraints(pattern=ALIAS)]
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
    engine: EngineKind = Field("vllm", description="vllm, llamacpp or scripted")
    task: Literal["generate", "embed"] = Field("generate", description="generate or embed")
    args: dict[Text, Any] = Field(
        {}, description="a mapping of the engine's own argument names to values"
    )
    also: dict[EngineKind, OtherEngine] = Field(
        {}, description="other engines for these weights: {vllm: {args: {…}}}"
    )
    reasoning: ReasoningEntry | None = Field(
        None, description="{opened_by: template} or {opened_by: model}"
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
    preload: bool = Field(False, description="true or false")
    optional: bool = Field(
        False, description="true: left out where the source's package is not installed"
    )
    created: Annotated[int, Field(ge=0)] = Field(1700000000, description="Unix seconds")
    system_prompt: Text | None = Field(None, description="a text")
    defaults: dict[Text, Any] = Field(
        {}, description="request fields and their values, like {temperature: 0.2}"
    )
    dimensions: list[Annotated[int, Field(ge=1)]] = Field(
        [], description="embed: a list of allowed vector lengths"
    )


class ProfileEntry(_Strict):
    """A named overlay: `all` over every model, then `models` one by one."""

    all: ModelEntry = Field(ModelEntry(), description="keys laid over every model")
    models: dict[Alias, ModelEntry] = Field({}, description="alias to keys laid over that model")


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
    models: dict[Alias, ModelEntry] = Field(description="alias to model")
    profiles: dict[Text, ProfileEntry] = Field({}, description="profile name to overlay")


@dataclass(frozen=True, slots=True)
class Document:
    """The validated file, with the lines to blame."""

    path: Path
    file: RegistryFile
    yaml: YamlFile

    def error(self, location: Location, message: str) -> RegistryError:
        return _error(self.path, self.yaml.line(location), location, message)


def read_registry_file(path: Path) -> Document:
    """Raises RegistryError with everything that is wrong, in the order of the file."""
    try:
        yaml_file = read_yaml(path)
    except YamlFileError as e:
        where = f"{path}:{e.line}" if e.line else f"{path}"
        raise RegistryError(f"{where}: {e}") from e
    try:
        return Document(path, RegistryFile.model_validate(yaml_file.values), yaml_file)
    except ValidationError as e:
        raise _all_errors(path, yaml_file, e) from None


def _all_errors(path: Path, yaml_file: YamlFile, invalid: ValidationError) -> RegistryError:
    """In the order of the file."""
    errors = [(_location(e), e) for e in invalid.errors()]
    unknown = [at for at, error in errors if error["type"] == "extra_forbidden"]
    told = [
        (yaml_file.line(at), at, error)
        for at, error in errors
        # A key with a typo is both unknown and missing: the first of the two says more.
        if error["type"] != "missing" or not any(_is_meant(at, typo) for typo in unknown)
    ]
    told.sort(key=lambda each: each[0])
    return RegistryError.of_all([_error(path, n, at, _complaint(at, e)) for n, at, e in told])


def _is_meant(missing: Location, typo: Location) -> bool:
    """Whether an unknown key is a missing one, misspelt."""
    return missing[:-1] == typo[:-1] and bool(did_you_mean(str(typo[-1]), [str(missing[-1])]))


def _location(error: ErrorDetails) -> Location:
    return tuple(part for part in error["loc"] if part != "[key]")


def _complaint(location: Location, error: ErrorDetails) -> str:
    siblings, field = _schema(location)
    if error["type"] == "extra_forbidden":
        name = str(location[-1])
        return f"unknown key{did_you_mean(name, siblings)} Known: {', '.join(siblings)}"
    right = f"; right would be {field}" if field else ""
    if error["type"] == "missing":
        return f"is missing{right}"
    if "[key]" in error["loc"]:
        return f"{error['input']!r} is no possible name: {complaint(error)}"
    return f"{_shown(error['input'])} is wrong: {complaint(error)}{right}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _schema(location: Location) -> tuple[list[str], str | None]:
    """The keys known beside a location, and the description of the nearest described one."""
    known: type[BaseModel] = RegistryFile
    description = None
    steps = list(location)
    while steps:
        name = str(steps.pop(0))
        if name not in known.model_fields:
            break
        description = known.model_fields[name].description
        inside, is_named = _INSIDE.get((known, name), (None, False))
        if inside is None or len(steps) <= is_named:
            break
        steps = steps[is_named:]
        known = inside
    return list(known.model_fields), description


_INSIDE: Mapping[tuple[type[BaseModel], str], tuple[type[BaseModel], bool]] = {
    (RegistryFile, "seller"): (SellerEntry, False),
    (RegistryFile, "models"): (ModelEntry, True),
    (RegistryFile, "profiles"): (ProfileEntry, True),
    (ProfileEntry, "all"): (ModelEntry, False),
    (ProfileEntry, "models"): (ModelEntry, True),
    (ModelEntry, "price"): (PriceEntry, False),
    (ModelEntry, "reasoning"): (ReasoningEntry, False),
    (ModelEntry, "also"): (OtherEngine, True),
}
"""The type behind a key, and whether a free name stands between them."""


def _error(path: Path, line: int, location: Location, message: str) -> RegistryError:
    """FILE:LINE: profile 'p', model 'm', key 'k': message."""
    parts, rest = [], list(location)
    while len(rest) > 1 and rest[0] in ("profiles", "models"):
        parts.append(f"{str(rest[0])[:-1]} {rest[1]!r}")
        rest = rest[2:]
    key = f"key {'.'.join(map(str, rest))!r}" if rest else ""
    of = ", ".join([*parts, key] if key else parts) or "the file"
    return RegistryError(f"{path}:{line}: {of}: {message}", f"{path}:{line}: {key}")
