"""Entries that lay an adapter over another entry's weights: what they have of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from engines.base import Adapter
from engines.registry.adapters import (
    GGUF,
    MOST_LLAMACPP,
    HubFolder,
    found_adapter,
    most_adapters,
    unable,
    unable_llamacpp,
)
from engines.registry.entries import ModelEntry
from engines.registry.yaml import Location

OF_THE_BASE: Final = (
    *("source", "revision", "file", "projector", "engine", "task", "args", "also", "replicas"),
    *("images", "nodes"),
)
"""An adapter's entry has these of its base, and says none of them."""
_INHERITED: Final = frozenset(
    {
        *OF_THE_BASE,
        *("reasoning", "reasoning_efforts", "tool_parser", "chat_template_kwargs"),
        *("free_chat_template_kwargs", "start_timeout", "context", "output", "price"),
        *("prefix_cache", "shared_prompts"),
    }
)


def on_bases(entries: Mapping[str, ModelEntry]) -> dict[str, ModelEntry]:
    """Each entry with an adapter, with what it has of its base; what it says itself counts first.
    One whose base is not there, or is an adapter's itself, stays as it is."""
    return {alias: _on_base(entry, entries) for alias, entry in entries.items()}


def _on_base(entry: ModelEntry, entries: Mapping[str, ModelEntry]) -> ModelEntry:
    base = None if entry.adapter is None else entries.get(entry.base or "")
    if base is None or base.adapter is not None:
        return entry
    own = {key: getattr(entry, key) for key in entry.model_fields_set}
    values = {k: getattr(base, k) for k in base.model_fields_set & _INHERITED} | own
    return ModelEntry.model_construct(_fields_set=set(values), **values)


def adapter_of(entry: ModelEntry, folder: Path, here: HubFolder) -> Adapter | None:
    """Of an entry with what it has of its base, in a file in `folder`. Raises ValueError with what
    is wrong: of the hub's, where it is `here`."""
    if entry.adapter is None:
        return None
    found = found_adapter(entry.adapter, folder, entry.adapter_revision, here)
    if found.adapter.path.endswith(GGUF) and entry.engine != "llamacpp":
        raise ValueError(f"{entry.adapter!r} is a GGUF, which llama.cpp alone reads")
    lacks = None
    if entry.engine != "scripted":
        is_vllm = entry.engine == "vllm"
        lacks = unable(entry.args, found.rank) if is_vllm else unable_llamacpp(entry.args)
    if lacks is not None:
        raise ValueError(f"{lacks} (of the base, {entry.base!r})")
    return found.adapter


def wrong_base(
    alias: str, said: ModelEntry, entries: Mapping[str, ModelEntry]
) -> tuple[Location, str] | None:
    """The key, and what is wrong with what the entry `said` of adapter and base."""
    if said.adapter is None:
        keys = [key for key in ("base", "adapter_revision") if getattr(said, key)]
        complaint = "is for an adapter; right would be adapter: ./folder, or owner/name"
        return ((keys[0],), complaint) if keys else None
    if said.base is None:
        return ("adapter",), "is laid over nothing; right would be base: with an alias"
    base = entries.get(said.base)
    if base is None or said.base == alias:
        return ("base",), f"{said.base!r} is no other model; its models: {', '.join(entries)[:200]}"
    if base.adapter is not None:
        return ("base",), f"{said.base!r} is an adapter itself; right would be its base"
    if base.task != "generate":
        return ("base",), f"{said.base!r} is no model that generates, which alone has adapters"
    for key in OF_THE_BASE:
        if key in said.model_fields_set:
            right = "adapter_revision" if key == "revision" else "to leave it out"
            return (key,), f"is the base's; right would be {right}"
    return None


def too_many(entries: Mapping[str, ModelEntry]) -> Iterator[tuple[str, str]]:
    """(alias, what is wrong) for each base with more adapters than its engine holds."""
    of_base: dict[str, list[str]] = defaultdict(list)
    for alias, entry in entries.items():
        if entry.adapter is not None and entry.base is not None and entry.base in entries:
            of_base[entry.base].append(alias)
    for base, aliases in of_base.items():
        is_vllm = entries[base].engine == "vllm"
        most = most_adapters(entries[base].args) if is_vllm else MOST_LLAMACPP
        if len(aliases) > most:
            found = f"is adapter {most + 1} of {base!r}, whose engine holds {most}"
            right = f"; right would be args.max_loras: {len(aliases)}" if is_vllm else ""
            yield aliases[most], f"{found}{right}"
