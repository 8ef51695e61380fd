"""The registry's models with one profile laid over them, each key knowing where it stands."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from engines.base import Adapter
from engines.registry.adapters import HubFolder, nowhere
from engines.registry.engine_arguments import argument_errors
from engines.registry.entries import PINNED, EngineKind, ModelEntry, ProfileEntry, ReasoningEntry
from engines.registry.entry_values import marks_of, price_of, reasoning_of
from engines.registry.file import Document, RegistryError
from engines.registry.images import wrong_images
from engines.registry.on_base import adapter_of, on_bases, too_many, wrong_base
from engines.registry.sources import PACKAGE, locate, unpinned_code
from engines.registry.spec import (
    NO_TOOLS,
    POOLING,
    EngineSpec,
    Load,
    ModelSpec,
    ThoughtBounds,
)
from engines.registry.thought_bounds import wrong_bounds
from engines.registry.vllm_names import (
    unknown_parser,
    vllm_tool_parser_names,
)
from engines.registry.yaml import Location

OF_THE_WEIGHTS = frozenset(
    {
        *("adapter", "adapter_revision", "base", "revision", "file", "projector", "engine"),
        *("task", "args", "also"),
        *("dimensions", "reasoning", "reasoning_efforts", "tool_parser", "chat_template_kwargs"),
        *("free_chat_template_kwargs", "start_timeout", "nodes", "replicas", "images", "optional"),
    }
)
"""Keys that speak of certain weights: an overlay that names another source starts without them."""


class Profile:
    """One profile of a file (None: nothing is laid over it). `entries` are the merged models, in
    order; methods raise RegistryError. `here`: where adapters of the hub are on this disk."""

    def __init__(self, document: Document, profile: str | None, here: HubFolder = nowhere) -> None:
        self.document, self._here = document, here
        self._name = profile or ""
        self._overlay = document.file.profiles[profile] if profile else ProfileEntry()
        aliases = [*document.file.models, *self._overlay.models]
        merged = {alias: self._merge(alias) for alias in aliases}
        self._said = {a: e for a, e in merged.items() if not _is_left_out(e, merged)}
        self.entries = on_bases(self._said)
        self.is_all_absent = bool(merged) and not self.entries

    def mistakes(self) -> list[RegistryError]:
        """What is wrong with each model; one that stands in `all` is named once."""
        found: dict[str, RegistryError] = {}
        for alias in self.entries:
            for make in (self._check_load, self.model, self._others):
                try:
                    make(alias)
                except RegistryError as error:
                    found.setdefault(error.place, error)
        return [*found.values(), *self._double_names(), *self._too_many_adapters()]

    def _too_many_adapters(self) -> Iterator[RegistryError]:
        for alias, complaint in too_many(self.entries):
            yield self._error(alias, ("adapter",), complaint)

    def _double_names(self) -> Iterator[RegistryError]:
        """A name that two models claim."""
        owners = {alias: alias for alias in self.entries}
        for alias, entry in self.entries.items():
            for index, name in enumerate(entry.also_known_as):
                if name in owners:
                    complaint = f"{name!r} is {owners[name]!r} already; a name has one model"
                    yield self._error(alias, ("also_known_as", index), complaint)
                owners.setdefault(name, alias)

    def _check_load(self, alias: str) -> None:
        """`preload` is the older word for `load`: one layer cannot say both."""
        for at, layer in self._layers(alias):
            if not {"load", "preload"} <= layer.model_fields_set or layer.load is None:
                continue
            if layer.preload is not (layer.load == "start"):
                said = "true" if layer.preload else "false"
                complaint = f"{said} contradicts load: {layer.load}; load alone is enough"
                raise self.document.error((*at, "preload"), complaint)

    def model(self, alias: str) -> ModelSpec:
        entry = self.entries[alias]
        if (wrong := wrong_base(alias, self._said[alias], self._said)) is not None:
            raise self._error(alias, *wrong)
        context, output = self._limits(alias, entry)
        self._check_tool_parser(alias, entry.tool_parser)
        self._check_speech(alias, entry)
        if (mistaken := wrong_images(entry)) is not None:
            raise self._error(alias, *mistaken)
        engine = self._engine(alias, entry, entry.engine, entry.args, context)
        return ModelSpec(
            alias=alias,
            also_known_as=tuple(entry.also_known_as),
            engine=engine,
            adapter=self._adapter(alias, entry),
            base=entry.base or "",
            context_tokens=context,
            output_tokens=output,
            price=price_of(entry),
            load=entry.load or "demand",
            is_pinned=entry.keep == PINNED,
            keep_s=entry.keep if isinstance(entry.keep, float) else None,
            start_timeout_s=entry.start_timeout,
            nodes=tuple(dict.fromkeys(entry.nodes)),
            replicas=entry.replicas,
            owners=frozenset(entry.owners),
            shares_prefix_cache=entry.prefix_cache == "shared",
            shared_prompts=tuple(entry.shared_prompts),
            created=entry.created,
            reasoning=reasoning_of(entry.reasoning),
            reasoning_efforts=entry.reasoning_efforts,
            thought_bounds=self._thought_bounds(alias, entry.reasoning),
            tool_parser=entry.tool_parser,
            chat_template_kwargs=entry.chat_template_kwargs,
            free_chat_template_kwargs=tuple(entry.free_chat_template_kwargs),
            system_prompt=entry.system_prompt,
            defaults=entry.defaults.model_dump(exclude_none=True),
            dimensions=entry.dimensions if entry.dimensions == "any" else tuple(entry.dimensions),
            images=entry.images,
        )

    def other_engines(self) -> Mapping[str, Mapping[str, EngineSpec]]:
        specs: dict[str, dict[str, EngineSpec]] = {}
        for alias in self.entries:
            for kind, spec in self._others(alias).items():
                specs.setdefault(kind, {})[alias] = spec
        return specs

    def _others(self, alias: str) -> dict[str, EngineSpec]:
        """Engine kind -> one alias' weights on it."""
        entry = self.entries[alias]
        context, _ = self._limits(alias, entry)
        return {
            kind: self._engine(alias, entry, kind, other.args, context, ("also", kind))
            for kind, other in entry.also.items()
        }

    def _layers(self, alias: str) -> list[tuple[Location, ModelEntry]]:
        """What is said of an alias, the last word first."""
        over: Location = ("profiles", self._name)
        layers = [
            ((*over, "models", alias), self._overlay.models.get(alias)),
            ((*over, "all"), self._overlay.all),
            (("models", alias), self.document.file.models.get(alias)),
        ]
        return [(at, entry) for at, entry in layers if entry is not None]

    def _merge(self, alias: str) -> ModelEntry:
        merged: dict[str, Any] = {}
        for _, layer in reversed(self._layers(alias)):
            if "source" in layer.model_fields_set:
                merged = {k: v for k, v in merged.items() if k not in OF_THE_WEIGHTS}
            if "adapter" in layer.model_fields_set:
                merged.pop("adapter_revision", None)
            merged |= {key: getattr(layer, key) for key in layer.model_fields_set}
            merged |= _load(layer, merged.get("load"))
        return ModelEntry.model_construct(_fields_set=set(merged), **merged)

    def _error(self, alias: str, keys: Location, message: str) -> RegistryError:
        layers = self._layers(alias)
        standing = [at for at, layer in layers if keys[0] in layer.model_fields_set]
        at = standing[0] if standing else [at for at, _ in layers if at[-1] != "all"][-1]
        if at[-1] == "all":
            message = f"{message} (for model {alias!r})"
        return self.document.error((*at, *keys), message)

    def _limits(self, alias: str, entry: ModelEntry) -> tuple[int, int]:
        if entry.context is None:
            raise self._error(alias, ("context",), "is missing; right would be 32K, say")
        if entry.task in POOLING:
            return entry.context, 0
        if entry.output is None:
            raise self._error(alias, ("output",), "is missing; right would be 4K, say")
        if entry.output > entry.context:
            raise self._error(
                alias,
                ("output",),
                f"{entry.output} tokens are more than the context of {entry.context}",
            )
        return entry.context, entry.output

    def _check_tool_parser(self, alias: str, parser: str | None) -> None:
        known = vllm_tool_parser_names() | {NO_TOOLS}
        if parser is not None and parser not in known:
            complaint = unknown_parser(parser, known)
            raise self._error(alias, ("tool_parser",), complaint)

    def _check_speech(self, alias: str, entry: ModelEntry) -> None:
        is_speech = entry.task == "transcribe"
        if is_speech and "llamacpp" in (entry.engine, *entry.also):
            raise self._error(alias, ("task",), "transcribe is for vllm; llamacpp hears nothing")
        if is_speech and entry.price is not None:
            raise self._error(alias, ("price",), "is of tokens; right would be price_per_second")
        if not is_speech and entry.price_per_second is not None:
            wrong = "is for models with task: transcribe; right would be price"
            raise self._error(alias, ("price_per_second",), wrong)

    def _adapter(self, alias: str, entry: ModelEntry) -> Adapter | None:
        try:
            return adapter_of(entry, self.document.path.parent, self._here)
        except ValueError as e:
            raise self._error(alias, ("adapter",), str(e)) from None

    def _thought_bounds(self, alias: str, entry: ReasoningEntry | None) -> ThoughtBounds:
        if entry is None:
            return ThoughtBounds()
        for keys, complaint in wrong_bounds(entry):
            raise self._error(alias, ("reasoning", *keys), complaint)
        budgets = {str(effort): tokens for effort, tokens in entry.budgets.items()}
        return ThoughtBounds(budgets=budgets, default=entry.budget, most=entry.most)

    def _engine(
        self,
        alias: str,
        entry: ModelEntry,
        kind: EngineKind,
        args: Mapping[str, Any],
        context: int,
        at: Location = (),
    ) -> EngineSpec:
        if entry.source is None:
            right = "a hub id (owner/name), a folder, or package:<distribution>"
            raise self._error(alias, ("source",), f"is missing; right would be {right}")
        try:
            source = locate(entry.source, self.document.path.parent, kind)
        except ValueError as e:
            raise self._error(alias, ("source",), str(e)) from None
        for name, complaint in argument_errors(kind, args, context):
            raise self._error(alias, (*at, "args", name), complaint)
        if (wrong := unpinned_code(kind, source, entry.revision, args)) is not None:
            right = "right would be the 40 digits of a commit"
            raise self._error(alias, ("revision",), f"{wrong}; {right}")
        return EngineSpec(
            kind=kind,
            source=source,
            revision=entry.revision,
            file=entry.file if kind == "llamacpp" else None,
            projector=entry.projector if kind == "llamacpp" else None,
            task=entry.task,
            args=args,
            thinking=marks_of(entry.reasoning) if kind == "vllm" else None,
            images=entry.images if kind == "vllm" else 0,
        )


def _load(layer: ModelEntry, before: Load | None) -> dict[str, Load | None]:
    """What a layer makes of `load`: its own word, else that of `preload`, which does not speak of
    what is never loaded."""
    if layer.load is not None or "preload" not in layer.model_fields_set:
        return {}
    if layer.preload:
        return {"load": "start"}
    return {"load": "demand"} if before == "start" else {}


def _is_left_out(entry: ModelEntry, merged: Mapping[str, ModelEntry]) -> bool:
    """Its package is not installed, or that of its base."""
    base = merged.get(entry.base or "")
    return any(each.optional and _is_absent(each) for each in (entry, base) if each is not None)


def _is_absent(entry: ModelEntry) -> bool:
    if not (entry.source or "").startswith(PACKAGE):
        return False
    try:
        importlib.metadata.distribution(str(entry.source).removeprefix(PACKAGE))
    except importlib.metadata.PackageNotFoundError:
        return True
    return False
