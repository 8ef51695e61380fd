"""The facts that come with Fjord: of the shipped registry's models and of their smaller builds, so
that a plan needs no network. Sizes are the published files' own."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.planning.config import facts_of
from engines.planning.facts import ModelFacts

_FILE = Path(__file__).with_name("shipped_models.json")


@functools.cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    entries: Mapping[str, Mapping[str, Any]] = json.loads(_FILE.read_text("utf-8"))
    return entries


def shipped_names() -> tuple[str, ...]:
    return tuple(_entries())


@functools.cache
def shipped_facts(source: str) -> ModelFacts | None:
    """None: nothing is known of this hub id."""
    entry = _entries().get(source)
    if entry is None:
        return None
    return facts_of(source, entry["config"], entry["elements"], entry["stored_bytes"])


def shipped_config(source: str) -> Mapping[str, Any] | None:
    """What of its config.json comes with Fjord: architecture, sizes, quantisation."""
    entry = _entries().get(source)
    config: Mapping[str, Any] | None = entry["config"] if entry else None
    return config


def smaller_builds(source: str) -> tuple[str, ...]:
    """The same model, quantised by its publisher."""
    return tuple(_entries().get(source, {}).get("smaller", ()))
