"""One engine on one machine -> what it takes there, or why it never can be there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from engines.planning.cards import Card
from engines.planning.engine_arguments import (
    UTILISATION,
    VllmArguments,
    is_bound_here,
    vllm_arguments,
)
from engines.planning.facts import ModelFacts
from engines.planning.lora import copies_bytes
from engines.planning.machine import Machine
from engines.planning.measured import Measured, MeasuredMemory
from engines.planning.need import Need, llamacpp_need, on_card, on_cpu
from engines.planning.packing import Demand, Room
from engines.planning.parallelism import does_not_divide
from engines.planning.stored import adapters_bytes
from engines.registry.spec import EngineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What an engine takes on a machine. `refusal`: why it never fits; None: it does, alone."""

    demand: Demand
    need: Need
    """On the largest card that there is, or in the machine's memory."""
    refusal: str | None = None


def room_of(machine: Machine) -> Room:
    kinds = _kinds(machine)
    return Room(
        kinds=tuple(kinds.index(card) for card in machine.cards),
        bytes=tuple(capacity(card) for card in machine.cards),
        host_bytes=machine.host_bytes,
        nodes=machine.nodes,
    )


def capacity(card: Card) -> int:
    """What engines may fill of it: the rest is the driver's, and memory that fell to pieces."""
    return int(card.total_bytes * UTILISATION)


def fit(
    spec: EngineSpec, facts: ModelFacts, machine: Machine, measured: MeasuredMemory | None = None
) -> Fit:
    """Alone on the machine. llama.cpp's layers are on cards only where its arguments say so."""
    if is_bound_here(spec):
        machine = machine.here
    if spec.kind == "llamacpp":
        return _llamacpp(spec, facts, machine)
    args = vllm_arguments(spec)
    return fit_vllm(spec, facts, args, machine, measured)


def fit_vllm(
    spec: EngineSpec,
    facts: ModelFacts,
    args: VllmArguments,
    machine: Machine,
    measured: MeasuredMemory | None = None,
) -> Fit:
    """With other arguments than the spec's, where they differ."""
    if not machine.cards:
        return _in_memory(
            spec, on_cpu(facts, args, machine.cpu_dtype, machine.cpu_cache_bytes), machine
        )
    kinds = _kinds(machine)
    needs = [on_card(facts, args, card, _known(measured, spec, card)) for card in kinds]
    claims = {
        i: _claim(card, need, args)
        for i, (card, need) in enumerate(zip(kinds, needs, strict=True))
        if lack(card, need, args) is None
    }
    largest = max(range(len(kinds)), key=lambda i: kinds[i].total_bytes)
    able = _together([card for card in machine.cards if kinds.index(card) in claims])
    return Fit(
        demand=Demand(
            key=spec.key,
            world=args.cards_here,
            claims=claims,
            host_bytes=copies_bytes(facts, args),
        ),
        need=needs[largest],
        refusal=does_not_divide(facts, args)
        or lack(kinds[largest], needs[largest], args)
        or _too_few(able, len(machine.cards), args.cards_here),
    )


def _together(cards: Sequence[Card]) -> int:
    """How many one engine can have: of one machine, or of all others than this one."""
    elsewhere = [card for card in cards if card.node]
    homes = Counter(card.node for card in cards)
    return max(len(elsewhere), max(homes.values(), default=0))


def lack(card: Card, need: Need, args: VllmArguments) -> str | None:
    """Why a card of this kind is too small for an engine alone; None: it is not."""
    limit = int(card.total_bytes * (args.utilisation or UTILISATION))
    if need.kv_bytes is not None and need.kv_bytes < need.stream_bytes:
        return (
            f"kv_cache_memory_bytes {need.kv_bytes} hold no stream of {need.context_tokens} "
            f"tokens: that takes {gb(need.stream_bytes)} GB"
        )
    if need.least_bytes <= limit:
        return None
    cache = need.least_bytes - need.weights_bytes - need.reserve_bytes
    return (
        f"needs {gb(need.least_bytes)} GB a card ({gb(need.weights_bytes)} of weights, "
        f"{gb(cache)} of KV cache for {need.context_tokens} tokens, {gb(need.reserve_bytes)} to "
        f"compute); {card} gives {gb(limit)}"
    )


def gb(count: int) -> str:
    return f"{count / 1e9:.1f}"


def _claim(card: Card, need: Need, args: VllmArguments) -> int:
    """An engine that is told its share takes it, however little it needs; on another machine it has
    its cards whole."""
    if card.node:
        return capacity(card)
    if args.utilisation is None:
        return need.least_bytes
    return min(capacity(card), int(args.utilisation * card.total_bytes))


def _too_few(able: int, cards: int, world: int) -> str | None:
    if able >= world:
        return None
    of = "" if able == cards else f" large enough (of {cards})"
    return f"runs on {world} cards; here {'is' if able == 1 else 'are'} {able}{of}"


def _known(measured: MeasuredMemory | None, spec: EngineSpec, card: Card) -> Measured | None:
    return measured.of(spec, card) if measured else None


def _kinds(machine: Machine) -> list[Card]:
    return list(dict.fromkeys(machine.cards))


def _in_memory(spec: EngineSpec, need: Need, machine: Machine) -> Fit:
    demand = Demand(key=spec.key, host_bytes=need.least_bytes)
    refusal = None
    if machine.host_bytes is not None and need.least_bytes > machine.host_bytes:
        refusal = (
            f"needs {gb(need.least_bytes)} GB of memory ({gb(need.weights_bytes)} of weights); "
            f"the machine has {gb(machine.host_bytes)}"
        )
    return Fit(demand=demand, need=need, refusal=refusal)


def _llamacpp(spec: EngineSpec, facts: ModelFacts, machine: Machine) -> Fit:
    need = llamacpp_need(facts, spec.args, adapters_bytes(spec.adapters))
    asked = spec.args.get("n_gpu_layers")
    layers = asked if isinstance(asked, int) and asked is not True else 0
    if not machine.cards or not layers:
        return _in_memory(spec, need, machine)
    share = min(1.0, layers / (facts.layers + 1)) if layers > 0 else 1.0
    return _offloaded(spec, need, share, machine)


def _offloaded(spec: EngineSpec, need: Need, share: float, machine: Machine) -> Fit:
    """That share of its layers on as few cards as hold them, the rest in the machine's memory."""
    kinds = _kinds(machine)
    moved = int((need.least_bytes - need.reserve_bytes) * share)
    for world in range(1, len(machine.cards) + 1):
        each = -(-moved // world) + need.reserve_bytes
        claims = {i: each for i, card in enumerate(kinds) if each <= capacity(card)}
        if sum(kinds.index(card) in claims for card in machine.cards) >= world:
            break
    else:
        return Fit(
            demand=Demand(key=spec.key, world=1),
            need=need,
            refusal=f"{gb(moved)} GB for n_gpu_layers are more than all cards have",
        )
    host = need.least_bytes - need.reserve_bytes - moved
    demand = Demand(key=spec.key, world=world, claims=claims, host_bytes=host)
    return Fit(demand=demand, need=need)
