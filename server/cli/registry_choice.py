"""Which models this server has: the registry's profile, or one's own from the command line."""

from pathlib import Path

from engines.registry.registry import (
    Registry,
    RegistryError,
    load_registry,
    parse_engine_args,
    registry_from_sources,
)
from server.refusal import CannotStart
from server.settings import Settings

FILE_NAME = "model_registry.yaml"


def open_registry(settings: Settings) -> Registry:
    """Raises CannotStart."""
    try:
        if settings.model:
            return _own(settings)
        if settings.engine_arg:
            raise CannotStart(
                "--engine-arg is for the models of --model; the registry's stand in its file."
            )
        path = registry_path(settings.registry)
        registry = load_registry(path, settings.profile or None)
        return registry.with_engine(settings.engine) if settings.engine else registry
    except RegistryError as error:
        raise CannotStart(str(error)) from None


def registry_path(asked: Path | None) -> Path:
    """The file asked for, else ./model_registry.yaml, else the one that came with Fjord."""
    if asked is not None:
        return asked
    here = Path(FILE_NAME)
    return here if here.exists() else Path(__file__).parents[2] / FILE_NAME


def _own(settings: Settings) -> Registry:
    pairs = [_pair(each) for each in settings.model]
    return registry_from_sources(pairs, parse_engine_args(settings.engine_arg), settings.engine)


def _pair(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise CannotStart(f"--model {text}: right would be NAME=SOURCE, like my-model=./weights.")
    return name, source
