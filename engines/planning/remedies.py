"""What would make a model fit that does not: each is tried before it is told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from engines.planning.cards import Card, labelled_card, shown_cards
from engines.planning.demands import Fit, fit_vllm
from engines.planning.engine_arguments import VllmArguments, vllm_arguments
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.parallelism import divisions
from engines.planning.shipped import shipped_facts, smaller_builds
from engines.registry.spec import EngineSpec

LEAST_CONTEXT = 2048
_CARD_COUNTS = (1, 2, 4, 8, 16, 32)
_CARD_SIZES = (24, 48, 80, 141, 180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One change. `source` and `args`: what of the registry's entry would be another."""

    kind: str
    """context, parallelism, build, cards or profile."""
    text: str
    source: str | None = None
    args: dict[str, int | str | bool] | None = None


def remedies(spec: EngineSpec, facts: ModelFacts, machine: Machine) -> tuple[Remedy, ...]:
    """Those that keep these cards first; of cards the least that would do. Only for vLLM's."""
    if spec.kind != "vllm" or not machine.cards:
        return ()
    tried = _Tried(spec, facts, vllm_arguments(spec), machine)
    here = [tried.other_parallelism(), tried.less_context(), *tried.smaller_builds()]
    return tuple(each for each in (*here, tried.more_cards()) if each is not None)


@dataclass(frozen=True, slots=True)
class _Tried:
    spec: EngineSpec
    facts: ModelFacts
    args: VllmArguments
    machine: Machine

    def other_parallelism(self) -> Remedy | None:
        other = self._divided(self.facts, self.args, self.machine)
        if other is None:
            return None
        args = _difference(self.args, other)
        return Remedy(kind="parallelism", text=f"args {_shown(args)}", args=args)

    def less_context(self) -> Remedy | None:
        """The most that fits, in whole thousands of 1,024 tokens; with other parallelism, where
        this one's cannot be here."""
        for args in (self.args, *divisions(self.facts, self.args, len(self.machine.cards))):
            tokens = self._longest(args)
            if tokens is not None:
                changed = {**_difference(self.args, args), "max_model_len": tokens}
                text = f"{tokens // 1024}K of context (args {_shown(changed)})"
                return Remedy(kind="context", text=text, args=changed)
        return None

    def smaller_builds(self) -> Iterator[Remedy]:
        for source in smaller_builds(self.spec.source):
            facts = shipped_facts(source)
            if facts is not None:
                yield from self._build(source, facts, self.args)
        if not self.facts.is_quantised and self.args.quantization is None:
            made = replace(self.args, quantization="fp8")
            yield from self._build(None, self.facts, made)

    def more_cards(self) -> Remedy | None:
        """Of the same kind, or else of the smallest kind of which a node of 8 would do."""
        own = max(self.machine.cards, key=lambda card: card.total_bytes)
        for card in (own, *map(labelled_card, _CARD_SIZES)):
            for count in _CARD_COUNTS if card is own else _CARD_COUNTS[:4]:
                if (found := self._on(card, count)) is not None:
                    return found
        return None

    def _on(self, card: Card, count: int) -> Remedy | None:
        machine = replace(self.machine, cards=(card,) * count)
        args = self.args
        if not _fits(self.spec, self.facts, args, machine):
            other = self._divided(self.facts, args, machine)
            if other is None:
                return None
            args = other
        changed = _difference(self.args, args)
        told = f" (args {_shown(changed)})" if changed else ""
        text = f"{shown_cards(machine.cards)}{told}"
        return Remedy(kind="cards", text=text, args=changed or None)

    def _build(
        self, source: str | None, facts: ModelFacts, args: VllmArguments
    ) -> Iterator[Remedy]:
        fitting = args if _fits(self.spec, facts, args, self.machine) else None
        fitting = fitting or self._divided(facts, args, self.machine)
        if fitting is None:
            return
        changed = _difference(self.args, fitting)
        gigabytes = f"{facts.weights_bytes(quantization=fitting.quantization) / 1e9:.0f} GB"
        told = f" with args {_shown(changed)}" if changed else ""
        what = source or "the same weights"
        yield Remedy(
            kind="build", text=f"{what}{told}: {gigabytes}", source=source, args=changed or None
        )

    def _divided(
        self, facts: ModelFacts, args: VllmArguments, machine: Machine
    ) -> VllmArguments | None:
        for other in divisions(facts, args, len(machine.cards)):
            if _fits(self.spec, facts, other, machine):
                return other
        return None

    def _longest(self, args: VllmArguments) -> int | None:
        asked = args.context_of(self.facts)

        def fits(thousands: int) -> bool:
            shorter = replace(args, context_tokens=thousands * 1024)
            return _fits(self.spec, self.facts, shorter, self.machine)

        most = _last(fits, LEAST_CONTEXT // 1024, max(0, asked - 1) // 1024)
        return most * 1024 if most else None


def _last(holds: Callable[[int], bool], first: int, last: int) -> int | None:
    """The largest number that holds; what holds for one holds for all below it."""
    if first > last or not holds(first):
        return None
    while first < last:
        middle = (first + last + 1) // 2
        first, last = (middle, last) if holds(middle) else (first, middle - 1)
    return first


def _fits(spec: EngineSpec, facts: ModelFacts, args: VllmArguments, machine: Machine) -> bool:
    found: Fit = fit_vllm(spec, facts, args, machine)
    return found.refusal is None


def _difference(old: VllmArguments, new: VllmArguments) -> dict[str, int | str | bool]:
    names: Sequence[tuple[str, str]] = (
        ("tensor_parallel", "tensor_parallel_size"),
        ("pipeline_parallel", "pipeline_parallel_size"),
        ("data_parallel", "data_parallel_size"),
        ("expert_parallel", "enable_expert_parallel"),
        ("quantization", "quantization"),
    )
    return {
        name: getattr(new, field)
        for field, name in names
        if getattr(new, field) != getattr(old, field)
    }


def _shown(args: dict[str, int | str | bool]) -> str:
    shown = ", ".join(f"{name}: {_yaml(value)}" for name, value in args.items())
    return f"{{{shown}}}"


def _yaml(value: int | str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
