"""Whether an engine's parallelism divides its model, and which ones would."""

from collections.abc import Iterator
from dataclasses import replace

from engines.planning.engine_arguments import VllmArguments
from engines.planning.facts import ModelFacts

TENSOR_SIZES = (1, 2, 4, 8)


def does_not_divide(facts: ModelFacts, args: VllmArguments) -> str | None:
    """Why vLLM would refuse, or None."""
    cards = args.tensor_parallel
    for heads in (facts.heads, *facts.divided_heads):
        if heads % cards:
            return f"{heads} heads do not divide over tensor_parallel_size {cards}"
    if args.pipeline_parallel > max(1, facts.layers):
        return f"{facts.layers} layers are fewer than pipeline_parallel_size"
    return _narrow_heads(facts, cards) or _broken_blocks(facts, args)


def _narrow_heads(facts: ModelFacts, cards: int) -> str | None:
    for group in facts.kv:
        heads = group.heads
        if group.kind in ("full", "window") and heads % cards and cards % heads:
            return f"{heads} KV heads do not divide over tensor_parallel_size {cards}"
    return None


def _broken_blocks(facts: ModelFacts, args: VllmArguments) -> str | None:
    """Experts that are not cut (expert parallel) keep their blocks whole."""
    if not facts.block:
        return None
    widths = [] if facts.experts and not _has_dense_layers(facts) else [facts.mlp_width]
    if facts.experts and not args.expert_parallel:
        widths.append(facts.experts.width)
    for width in widths:
        if width % (facts.block * args.tensor_parallel):
            return (
                f"an MLP of {width} does not divide into blocks of {facts.block} over "
                f"tensor_parallel_size {args.tensor_parallel}"
            )
    return None


def _has_dense_layers(facts: ModelFacts) -> bool:
    return facts.experts is None or facts.experts.layers < facts.layers


def divisions(facts: ModelFacts, args: VllmArguments, most_cards: int) -> Iterator[VllmArguments]:
    """The same engine with other parallelism that its model divides over, the fewest cards
    first."""
    for stages in (1, 2, 4):
        for size in TENSOR_SIZES:
            if size * stages > most_cards or (stages > 1 and size < TENSOR_SIZES[-1]):
                continue
            for split in dict.fromkeys((args.expert_parallel, facts.experts is not None)):
                other = replace(
                    args,
                    tensor_parallel=size,
                    pipeline_parallel=stages,
                    data_parallel=1,
                    expert_parallel=split and size > 1,
                )
                if does_not_divide(facts, other) is None:
                    yield other
                    break
