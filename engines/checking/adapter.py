"""Whether an alias' adapter goes with the model that it is laid over."""

from collections.abc import Iterator
from pathlib import Path

from engines.base import EngineUnavailable
from engines.checking.findings import Finding, bounded, fail, note, ok
from engines.llamacpp.adapter_gguf import llamacpp_adapter
from engines.planning.adapter_fit import misfit
from engines.registry.adapters import read_adapter, unable
from engines.registry.spec import AdapterSource, ModelSpec
from engines.weights.present import present_weights


def adapter_findings(entry: ModelSpec, base: Path | None, data_dir: Path) -> Iterator[Finding]:
    """None where the alias has no adapter. `base`: the model's files, where they are here."""
    if entry.adapter is None:
        return
    origin = entry.adapter.origin
    try:
        folder = present_weights(AdapterSource.of(entry.adapter), data_dir)
        if folder is None:
            fetched = f"`fjord weights pull {entry.alias}` fetches it"
            yield note("adapter.here", f"{origin} is not on this disk; {fetched}")
            return
        if entry.engine.kind == "llamacpp":
            yield _of_llamacpp(folder, base)
            return
        rank, trained_on = read_adapter(folder, origin)
        wrong = None if base is None else misfit(folder, base)
    except (ValueError, EngineUnavailable) as error:
        yield fail("adapter.files", str(error).replace(origin, Path(origin).name))
        return
    lacks = unable(entry.engine.args, rank)
    if lacks is not None:
        yield fail("adapter.rank", lacks)
    else:
        yield ok("adapter.rank", f"a LoRA of rank {rank}")
    if wrong is not None:
        yield fail("adapter.shapes", wrong)
    yield from _of_base(trained_on.rstrip("/"), entry.engine.source.rstrip("/"))


def _of_llamacpp(adapter: Path, base: Path | None) -> Finding:
    """Raises ValueError."""
    if base is None:
        return note("adapter.shapes", "its base is not on this disk: nothing says its shapes")
    try:
        llamacpp_adapter(adapter, base, None)
    except OSError as error:
        raise ValueError(f"{adapter.name} cannot be read: {error.strerror}") from None
    return ok("adapter.shapes", "a LoRA that llama.cpp lays over its base")


def _of_base(trained_on: str, source: str) -> Iterator[Finding]:
    if trained_on and trained_on.rsplit("/", 1)[-1] != source.rsplit("/", 1)[-1]:
        what = f"it was trained on {bounded(trained_on, 80)}, and lies over {bounded(source, 80)}"
        yield note("adapter.base", what)
