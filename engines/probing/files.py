"""Weights as each machine has them: the same commit, the same files, or one shared folder."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from engines.errors import EngineUnavailable
from engines.registry.spec import AdapterSource, EngineSpec, Source
from engines.weights.manifest import MANIFEST, BadManifest, read_manifest
from engines.weights.present import present_weights

MOST_MODELS: Final = 64
MOST_FILES: Final = 20_000
Text = Annotated[str, Meta(max_length=4096)]


class WantedWeights(msgspec.Struct, frozen=True, kw_only=True):
    """A source, as a registry names it."""

    kind: Literal["vllm", "llamacpp", "adapter"]
    source: Text
    revision: Text | None = None
    file: Text | None = None
    projector: Text | None = None


class SeenWeights(msgspec.Struct, frozen=True, kw_only=True):
    """What is there of them."""

    state: Literal["here", "missing", "wrong"]
    words: Annotated[str, Meta(max_length=400)] = ""
    """wrong: how."""
    commit: Annotated[str, Meta(max_length=128)] = ""
    sizes: Annotated[str, Meta(max_length=64)] = ""
    """A digest of all files' names and sizes."""
    hashes: Annotated[str, Meta(max_length=64)] = ""
    """And of their hashes, as they were fetched; "": nobody knows them."""
    largest: Annotated[str, Meta(max_length=200)] = ""
    """The largest file's inode, size and time: equal on two machines that share a folder."""
    size: Annotated[int, Meta(ge=0, le=2**60)] = 0


def wanted(spec: Source) -> WantedWeights | None:
    """None: it has no files here."""
    if spec.kind == "scripted" or spec.kind == "peer":
        return None
    return WantedWeights(
        kind=spec.kind,
        source=spec.source,
        revision=spec.revision,
        file=spec.file,
        projector=spec.projector,
    )


def seen_weights(asked: WantedWeights, data_dir: Path) -> SeenWeights:
    """No file is read but its manifest. Blocks as long as the disk does."""
    try:
        path = present_weights(_spec(asked), data_dir)
        if path is None or not path.exists():
            return SeenWeights(state="missing")
        return _seen(path)
    except (EngineUnavailable, BadManifest, OSError) as error:
        return SeenWeights(state="wrong", words=str(error)[:400])


def _spec(asked: WantedWeights) -> Source:
    if asked.kind == "adapter":
        return AdapterSource(source=asked.source, revision=asked.revision)
    return EngineSpec(
        kind=asked.kind,
        source=asked.source,
        revision=asked.revision,
        file=asked.file,
        projector=asked.projector,
    )


def _seen(path: Path) -> SeenWeights:
    manifest = read_manifest(path if path.is_dir() else path.parent)
    found = _files(path)
    sizes = {name: info.st_size for name, info in found.items()}
    files = manifest.files if manifest else {}
    short = [name for name, each in files.items() if sizes.get(name, each.size) != each.size]
    if short:
        return SeenWeights(state="wrong", words=f"{short[0][:200]} has another size than fetched")
    largest = max(found.values(), key=lambda info: info.st_size, default=None)
    return SeenWeights(
        state="here",
        commit=manifest.commit[:128] if manifest else "",
        sizes=_digest(sizes),
        hashes=_digest({name: each.sha256 for name, each in files.items()}) if files else "",
        largest=f"{largest.st_ino} {largest.st_size} {largest.st_mtime_ns}" if largest else "",
        size=sum(sizes.values()),
    )


def _digest(listed: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def _files(path: Path) -> dict[str, os.stat_result]:
    """By path within the folder; links are followed, as the hub's cache has them."""
    if path.is_file():
        return {path.name: path.stat()}
    found: dict[str, os.stat_result] = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name != MANIFEST:
                file = Path(folder, name)
                found[str(file.relative_to(path))] = file.stat()
        if len(found) > MOST_FILES:
            break
    return found
