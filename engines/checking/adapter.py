"""Whether an alias' adapter goes with the model that it is laid over."""

from collections.abc import Iterator
from pathlib import Path

from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.registry.adapters import FoundAdapter, found_adapter, unable
from engines.registry.spec import ModelSpec


def adapter_findings(entry: ModelSpec) -> Iterator[Finding]:
    """None where the alias has no adapter."""
    if entry.adapter is None:
        return
    try:
        found = found_adapter(entry.adapter.path, Path())
    except ValueError as error:
        folder = entry.adapter.path
        yield fail("adapter.files", str(error).replace(folder, Path(folder).name))
        return
    lacks = unable(entry.engine.args, found.rank)
    if lacks is not None:
        yield fail("adapter.rank", lacks)
    else:
        yield ok("adapter.rank", f"a LoRA of rank {found.rank}")
    yield from _of_base(found, entry)


def _of_base(found: FoundAdapter, entry: ModelSpec) -> Iterator[Finding]:
    trained_on, source = found.trained_on.rstrip("/"), entry.engine.source.rstrip("/")
    if trained_on and trained_on.rsplit("/", 1)[-1] != source.rsplit("/", 1)[-1]:
        what = f"it was trained on {bounded(trained_on, 80)}, and lies over {bounded(source, 80)}"
        yield note("adapter.base", what)
