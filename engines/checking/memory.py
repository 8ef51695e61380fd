"""What an engine of this model takes on a machine, as `fjord plan` counts it."""

from collections.abc import Iterator
from pathlib import Path

from engines.checking.findings import Finding, fail, note, ok, shown_size
from engines.planning.cards import shown_cards
from engines.planning.facts import FactsUnknown, ModelFacts
from engines.planning.machine import Machine
from engines.planning.measured import MeasuredMemory
from engines.planning.plan import AskedEngine, Placed, plan
from engines.planning.stored import facts_of_path
from engines.registry.sources import PACKAGE, is_local
from engines.registry.spec import EngineSpec
from engines.weights.description import model_facts

_ID = "memory.fits"


def memory_findings(
    spec: EngineSpec, path: Path | None, machine: Machine, data_dir: Path
) -> Iterator[Finding]:
    """`path`: its weights, where they are on this disk. The hub is not asked."""
    try:
        facts = _facts(spec, path, data_dir)
    except FactsUnknown as error:
        yield note(_ID, f"not known: {error}")
        return
    asked = AskedEngine(spec=spec, aliases=("model",), facts=facts)
    [placed] = plan([asked], machine, MeasuredMemory(data_dir)).engines
    if placed.fit is not None:
        yield _need(placed, facts, has_cards=bool(machine.cards))
        yield from _verdict(placed, machine)


def _facts(spec: EngineSpec, path: Path | None, data_dir: Path) -> ModelFacts:
    """A hub's model from its cache; what is converted at the first start, from what it is now."""
    is_of_hub = not is_local(spec.source) and not spec.source.startswith(PACKAGE)
    if path is not None and is_of_hub:
        return facts_of_path(path)
    return model_facts(spec, data_dir, may_ask_hub=False)


def _need(placed: Placed, facts: ModelFacts, has_cards: bool) -> Finding:
    assert placed.fit is not None
    need = placed.fit.need
    kv = f"{need.model_token_bytes / 1024:.1f} KiB of KV cache a token"
    kept = kv if facts.kv else "nothing kept of a sequence"
    where = " a card" if has_cards else ""
    by = ", as measured" if need.is_measured else ""
    return ok("memory.need", f"{shown_size(need.weights_bytes)} of weights{where}{by}, {kept}")


def _verdict(placed: Placed, machine: Machine) -> Iterator[Finding]:
    assert placed.fit is not None
    where = shown_cards(machine.cards) if machine.cards else _memory(machine)
    if placed.fit.refusal is not None:
        yield fail(_ID, f"never fits on {where}: {placed.fit.refusal}")
        if placed.remedies:
            would = "; or ".join(remedy.text for remedy in placed.remedies)
            yield note("memory.would_fit", f"would fit: {would}")
        return
    need = placed.fit.need
    streams = f"{placed.streams} stream{'s' * (placed.streams != 1)} at {need.context_tokens:,}"
    yield ok(_ID, f"fits on {where}" + (f", {streams} tokens" if need.stream_bytes else ""))


def _memory(machine: Machine) -> str:
    host = machine.host_bytes
    return "the CPU" if host is None else f"the CPU with {host / 1e9:.0f} GB of memory"
