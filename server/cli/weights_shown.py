"""The table of `fjord weights list`."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import EngineUnavailable
from engines.registry.sources import PACKAGE, is_local
from engines.weights.manifest import BadManifest, WeightsManifest, read_manifest
from engines.weights.present import present_weights
from engines.weights.size import weights_bytes
from engines.weights.store import PARTS, WeightsStore, stores, weights_root
from server.cli.bars import size_words
from server.cli.chosen_models import Weights
from server.cli.tables import Column, show_table

COLUMNS = (
    Column("source"),
    Column("commit"),
    Column("size", is_number=True),
    Column("licence"),
    Column("state"),
    Column("aliases", is_long=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known of one model's weights on this disk."""

    source: str
    state: str
    """here, cached (by the hub's own library), bundle, package, local, partial or missing; damaged
    where the manifest cannot be read."""
    commit: str | None = None
    bytes: int | None = None
    licence: str | None = None
    path: Path | None = None
    aliases: Sequence[str] = ()


def show_weights(weights: Iterable[Weights], data_dir: Path) -> None:
    show_table(COLUMNS, [_row(_kept(each, data_dir)) for each in weights])


def weights_as_json(weights: Iterable[Weights], data_dir: Path) -> str:
    found = [_kept(each, data_dir) for each in weights]
    return json.dumps([_document(each) for each in found], indent=2)


def _document(kept: Kept) -> dict[str, object]:
    return {
        "source": kept.source,
        "state": kept.state,
        "commit": kept.commit,
        "bytes": kept.bytes,
        "licence": kept.licence,
        "path": None if kept.path is None else str(kept.path),
        "aliases": list(kept.aliases),
    }


def _row(kept: Kept) -> list[str]:
    size = "–" if kept.bytes is None else size_words(kept.bytes)
    commit, licence = (kept.commit or "–")[:10], kept.licence or "–"
    return [kept.source, commit, size, licence, kept.state, ", ".join(kept.aliases)]


def _kept(weights: Weights, data_dir: Path) -> Kept:
    try:
        path = present_weights(weights.spec, data_dir)
    except EngineUnavailable:
        path = None
    if path is None:
        return _missing(weights, data_dir)
    folder = path if path.is_dir() else path.parent
    try:
        manifest = read_manifest(folder)
    except BadManifest:
        return Kept(source=weights.shown, state="damaged", path=path, aliases=weights.aliases)
    return Kept(
        source=weights.shown,
        state=_state(weights, path, data_dir),
        commit=_commit(weights, folder, manifest),
        bytes=manifest.size if manifest else weights_bytes(path),
        licence=manifest.licence if manifest else None,
        path=path,
        aliases=weights.aliases,
    )


def _state(weights: Weights, path: Path, data_dir: Path) -> str:
    if weights.spec.source.startswith(PACKAGE):
        return "package"
    if is_local(weights.spec.source):
        return "local"
    own, bundle = stores(data_dir, os.environ)
    if path.is_relative_to(own.root):
        return "here"
    return "bundle" if path.is_relative_to(bundle.root) else "cached"


def _commit(weights: Weights, folder: Path, manifest: WeightsManifest | None) -> str | None:
    if manifest is not None:
        return manifest.commit
    is_of_hub = not (weights.spec.source.startswith(PACKAGE) or is_local(weights.spec.source))
    return folder.name if is_of_hub else None


def _missing(weights: Weights, data_dir: Path) -> Kept:
    """What was begun shows as partial: a branch is not known by its commit before it is whole."""
    store = WeightsStore(weights_root(data_dir, os.environ))
    begun = list(store.repository(weights.spec.source).glob(f"*/{PARTS}"))
    state = "partial" if begun else "missing"
    return Kept(source=weights.shown, state=state, aliases=weights.aliases)
