"""What cannot be on a machine whatever its estimates are: so little is refused before a load."""

from engines.planning.cards import Card
from engines.planning.demands import gb
from engines.planning.engine_arguments import is_bound_here, vllm_arguments
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.need import card_weights_bytes, on_card
from engines.registry.spec import EngineSpec


def never_fits(spec: EngineSpec, facts: ModelFacts, machine: Machine) -> str | None:
    """Why: weights and one stream at full context are more than a whole card, or the weights more
    than all memory. None: it may fit, or cannot be told. llama.cpp reads from the disk what has no
    room in memory."""
    args = vllm_arguments(spec)
    if spec.kind != "vllm" or args.is_elsewhere:
        return None
    if is_bound_here(spec):
        machine = machine.here
    if not machine.cards:
        return _in_memory(facts.weights_bytes(args.dtype), machine.host_bytes)
    if args.cards_here > len(machine.cards):
        return f"it runs on {args.cards_here} cards and here are {len(machine.cards)}"
    largest = max(machine.cards, key=lambda card: card.total_bytes)
    need = on_card(facts, args, largest, None)
    return _on_card(
        card_weights_bytes(facts, args), need.stream_bytes, need.context_tokens, largest
    )


def _in_memory(weights: int, host: int | None) -> str | None:
    if host is None or weights <= host:
        return None
    return f"its weights take {gb(weights)} GB of memory and the machine has {gb(host)}"


def _on_card(weights: int, stream: int, tokens: int, card: Card) -> str | None:
    """A card's bytes here are a little below what a program finds."""
    if weights + stream <= card.total_bytes * 1.03:
        return None
    return (
        f"it takes {gb(weights + stream)} GB a card ({gb(weights)} of weights, {gb(stream)} of KV "
        f"cache for {tokens} tokens) and a card has {gb(card.total_bytes)}"
    )
