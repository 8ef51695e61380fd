"""model_registry.yaml and a profile -> Registry: what every alias is, and which engine runs it."""

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engines.registry.access import AccessEntry
from engines.registry.adapters import HubFolder, nowhere
from engines.registry.engine_arguments import argument_errors
from engines.registry.entries import ALIAS, EngineKind
from engines.registry.file import Document, RegistryError, read_registry_file
from engines.registry.names import ModelNames
from engines.registry.profile import Profile
from engines.registry.seller import SellerEntry
from engines.registry.shared_marks import with_shared_marks
from engines.registry.sources import (
    is_gguf,
    is_local,
    locate,
    longest_context,
    split_file,
    split_revision,
    unpinned_code,
)
from engines.registry.spec import EngineSpec, ModelSpec, Price
from engines.registry.yaml import YamlFileError, parse_yaml
from engines.spelling import did_you_mean

__all__ = [
    "Registry",
    "RegistryError",
    "default_profile",
    "load_registry",
    "parse_engine_args",
    "registry_from_sources",
]


NO_PROFILE = "none"
"""Shown of a file without profiles: its models are served as they stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The models of one profile, in the order of the file."""

    models: Mapping[str, ModelSpec]
    profile: str
    profiles: tuple[str, ...]
    """Every profile of the file."""
    currency: str = "NOK"
    rates: Mapping[str, int] = field(default_factory=dict)
    """Another currency -> the micro-units of it that one unit of `currency` is."""
    regions: tuple[str, ...] = ("oslo",)
    other_engines: Mapping[str, Mapping[str, EngineSpec]] = field(default_factory=dict)
    """Engine kind -> alias -> the same weights on that engine (the file's `also`)."""
    batch_price_factor: int = 1_000_000
    """What prices of a batch's requests are multiplied by, in millionths."""
    access: AccessEntry = field(default_factory=AccessEntry)
    """How people sign in, beside passwords."""
    list_other_names: bool = False
    """Whether the models list shows what models are also known as."""
    cluster: str | None = None
    """The cluster whose machines vLLM's engines may stand on too."""
    seller: SellerEntry | None = None
    """Of its invoices."""
    names: ModelNames = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", ModelNames(self.models))

    def on_node(self, name: str) -> "Registry":
        """As the site's node of that name serves it."""
        models = {alias: model.on_node(name) for alias, model in self.models.items()}
        return replace(self, models=MappingProxyType(models))

    @property
    def here(self) -> list[ModelSpec]:
        """Those whose engines are this node's."""
        return [model for model in self.models.values() if not model.peers]

    def price_in(self, currency: str, price: Price) -> Price | None:
        """A price of ours in `currency`, at our rate; None where we have none. Nothing costs
        nothing in every currency."""
        if currency == self.currency or price == Price():
            return price
        rate = self.rates.get(currency)
        return None if rate is None else price.at(rate)

    def with_engine(self, kind: str) -> "Registry":
        """Every model that can run on `kind` does; the others stay. RegistryError if none can."""
        others = self.other_engines.get(kind, {})
        if not others and all(m.engine.kind != kind for m in self.models.values()):
            able = sorted({m.engine.kind for m in self.models.values()} | set(self.other_engines))
            raise RegistryError(
                f"profile {self.profile!r} has no model for the engine {kind!r}"
                f"{did_you_mean(kind, able)}; its engines: {', '.join(able)}"
            )
        models = {
            alias: replace(model, engine=others.get(alias, model.engine))
            for alias, model in self.models.items()
        }
        return replace(self, models=MappingProxyType(models))


def load_registry(path: Path, profile: str | None = None, here: HubFolder = nowhere) -> Registry:
    """`profile` None: the one that fits this machine; `here`: where adapters of the hub are on this
    disk. Raises RegistryError with every mistake: file, line, model, key, what would be right."""
    document = read_registry_file(path)
    profiles = tuple(document.file.profiles)
    chosen = default_profile(profiles) if profile is None else profile
    if profile is not None and profile not in profiles:
        raise RegistryError(
            f"{path}: unknown profile {profile!r}{did_you_mean(profile, profiles)}; "
            f"its profiles: {', '.join(profiles) or 'none'}"
        )
    merged = Profile(document, chosen, here)
    mistakes = [*_wrong_rates(document), *_no_models(document, merged), *merged.mistakes()]
    if mistakes:
        raise RegistryError.of_all(mistakes)
    models, others = with_shared_marks(
        {alias: merged.model(alias) for alias in merged.entries}, merged.other_engines()
    )
    return Registry(
        models=MappingProxyType(models),
        profile=chosen or NO_PROFILE,
        profiles=profiles,
        currency=document.file.currency,
        rates={str(name): rate for name, rate in document.file.rates.items()},
        regions=tuple(document.file.regions),
        other_engines=others,
        batch_price_factor=document.file.batch.price_factor,
        access=document.file.access,
        list_other_names=document.file.list_other_names,
        cluster=document.file.cluster,
        seller=document.file.seller,
    )


def _wrong_rates(document: Document) -> list[RegistryError]:
    own = document.file.currency
    if own not in document.file.rates:
        return []
    complaint = f"{own} is the registry's own currency and has no rate"
    return [document.error(("rates", own), complaint)]


def _no_models(document: Document, merged: Profile) -> list[RegistryError]:
    if merged.entries:
        return []
    complaint = "there is no model; right would be an alias, and under it its source"
    if merged.is_all_absent:
        complaint = "all models are optional, and no package of theirs is installed"
    return [document.error(("models",), complaint)]


def default_profile(profiles: Sequence[str]) -> str | None:
    """Of a file's profiles "cuda" where there is a GPU, "embedded" where there is none; where the
    file has no such profile, its first one (without a GPU one that is not called "cuda", if there
    is such a one). None: the file has no profiles."""
    if has_gpu():
        liked = ["cuda", *profiles]
    else:
        liked = ["embedded", *(name for name in profiles if name != "cuda"), *profiles]
    return next((name for name in liked if name in profiles), None)


def has_gpu() -> bool:
    """Whether nvidia-smi lists one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU " in listed.stdout


def registry_from_sources(
    sources: Sequence[tuple[str, str]],
    engine_args: Mapping[str, Any],
    kind: EngineKind | None = None,
    base: Path | None = None,
) -> Registry:
    """One's own models, without a file: (alias, source) pairs, one set of engine arguments.

    A source is a folder, a GGUF file, owner/name[@revision], or owner/name:file.gguf; relative to
    `base` (the working directory). Raises RegistryError.
    """
    models: dict[str, ModelSpec] = {}
    for alias, source in sources:
        if alias in models:
            raise RegistryError(f"--model {alias}: the name is given twice")
        try:
            models[alias] = _own_model(alias, source, engine_args, kind, base or Path.cwd())
        except ValueError as e:
            raise RegistryError(f"--model {alias}={source}: {e}") from None
    return Registry(models=MappingProxyType(models), profile="own", profiles=("own",))


def _own_model(
    alias: str, source: str, args: Mapping[str, Any], kind: EngineKind | None, base: Path
) -> ModelSpec:
    if not re.fullmatch(ALIAS, alias):
        raise ValueError(f"{alias!r} is no possible name; right would be letters, digits and ._:/-")
    source, revision = split_revision(source)
    source, file = split_file(source)
    detected: EngineKind = "llamacpp" if file or is_gguf(source, base) else "vllm"
    chosen = kind or detected
    located = locate(source, base, chosen)
    if is_local(located) and not Path(located).exists():
        raise ValueError(f"{located} is not there")
    context = longest_context(located, args)
    for name, complaint in argument_errors(chosen, args, 1):
        raise ValueError(f"--engine-arg {name}: {complaint}")
    if (wrong := unpinned_code(chosen, located, revision, args)) is not None:
        raise ValueError(f"{wrong}; right would be owner/name@commit, with the commit's 40 digits")
    spec = EngineSpec(kind=chosen, source=located, revision=revision, file=file, args=dict(args))
    return ModelSpec(
        alias=alias, engine=spec, context_tokens=context, output_tokens=context, load="start"
    )


def parse_engine_args(pairs: Sequence[str]) -> dict[str, Any]:
    """["max_model_len=8192", …] -> {name: value}, values read as YAML. Raises RegistryError."""
    args: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise RegistryError(f"--engine-arg {pair}: right would be name=value")
        try:
            args[name] = parse_yaml(text).values
        except YamlFileError as e:
            raise RegistryError(f"--engine-arg {pair}: the value {e}") from None
    return args
