"""Which key a person means, and whether there are models of the names that a key is given."""

from collections.abc import Iterable, Iterator
from typing import Any

import typer

from engines.registry.file import RegistryError, read_registry_file
from engines.registry.names import exact_names
from engines.spelling import did_you_mean
from server.cli.options import failed
from server.cli.registry_choice import registry_path
from server.cli.server_address import server_address
from server.ledger.errors import KeyNotFound
from server.ledger.key_headings import key_headings
from server.ledger.key_names import key_of
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.refusal import CannotStart
from server.settings import Settings, read_settings


def key_named(store: KeyStore, word: str) -> Key:
    """As `key_of`. Raises LedgerError, with names that are near."""
    try:
        return key_of(store.called(word), word)
    except KeyNotFound:
        hint = did_you_mean(word, [heading.name for heading in key_headings(store.database)])
        raise KeyNotFound(f"No key has the name or id {word!r}{hint or '.'}") from None


def check_models(aliases: Iterable[str]) -> None:
    """Refuses a name that is nearly one of a model which the registry or the server here has.
    Another site's server may have others: for those, a warning."""
    try:
        settings = read_settings()
        path = registry_path(settings.registry)
        known = list(_registered(settings))
    except (CannotStart, RegistryError):
        return
    unknown = [alias for alias in aliases if alias not in known]
    known += _served(settings) if unknown else []
    for alias in unknown:
        if alias not in known:
            if hint := did_you_mean(alias, known):
                raise failed(f"--models: {path} has no model {alias!r}{hint}")
            said = f"{path} has no model {alias!r}. It may be used all the same."
            typer.echo(f"fjord: warning: {said}", err=True)


def by_alias(fields: dict[str, Any]) -> None:
    """A key is for aliases: another name of the registry here among `models` is turned into its
    alias, and that is said on stderr."""
    if not fields.get("models"):
        return
    others = _other_names()
    for name in others.keys() & set(fields["models"]):
        typer.echo(f"fjord: {name} is {others[name]} here; that is what may be used.", err=True)
    fields["models"] = [others.get(name, name) for name in fields["models"]]


def _other_names() -> dict[str, str]:
    """Other name -> alias, of the file and all its profiles; none where it cannot be read."""
    try:
        file = read_registry_file(registry_path(read_settings().registry)).file
    except (CannotStart, RegistryError):
        return {}
    layers = [file.models, *(profile.models for profile in file.profiles.values())]
    return {
        name: alias
        for models in layers
        for alias, entry in models.items()
        for name in exact_names(entry.also_known_as)
    }


def _registered(settings: Settings) -> Iterator[str]:
    """Of every profile: which one a server will run is not known here."""
    file = read_registry_file(registry_path(settings.registry)).file
    yield from file.models
    for profile in file.profiles.values():
        yield from profile.models
    yield from (pair.partition("=")[0] for pair in settings.model)


def _served(settings: Settings) -> list[str]:
    import httpx

    try:
        with server_address(settings).ops.client(timeout=1.0) as http:
            engines = http.get("/ready").json()["engines"]
        return [str(alias) for engine in engines for alias in engine["aliases"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return []
