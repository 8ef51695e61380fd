"""A plan over the cards of several machines."""

from dataclasses import replace
from typing import Any

import pytest

from engines.fleet.shares import NodeShares
from engines.planning.cards import parse_cards
from engines.planning.demands import fit
from engines.planning.machine import Machine, cards_elsewhere
from engines.planning.plan import AskedEngine, plan
from engines.planning.shipped import shipped_facts
from engines.registry.spec import EngineSpec

SMALL = "Qwen/Qwen3-0.6B"
LISTED = "0, GPU-a, NVIDIA H100 80GB HBM3, 81559\n1, GPU-b, NVIDIA H100 80GB HBM3, 81559\n"


def machine(*nodes: str) -> Machine:
    """`nodes`: cards of each as `fjord plan` reads them, this machine's first; empty: none."""
    cards = [
        replace(card, node=f"10.0.0.{n}" if n else "")
        for n, text in enumerate(nodes)
        for card in (parse_cards(text) if text else ())
    ]
    return Machine(cards=tuple(cards), host_bytes=2**40)


def asked(replicas: int = 1, source: str = "large", **args: Any) -> AskedEngine:
    facts = shipped_facts("mistralai/Mixtral-8x7B-Instruct-v0.1")
    spec = EngineSpec(kind="vllm", source=source, args=dict(args))
    return AskedEngine(spec=spec, aliases=(source,), facts=facts, replicas=replicas)


def test_a_node_lists_its_cards_as_nvidia_smi_does() -> None:
    [card] = cards_elsewhere(LISTED, "10.0.0.2", 1)
    assert (str(card), card.node) == ("H100 80GB HBM3 80 GB", "10.0.0.2")
    assert len(cards_elsewhere(LISTED + "junk\n", "n", 8)) == 2
    assert cards_elsewhere("", "n", 8) == ()


def test_replicas_of_several_cards_each_stand_in_one_machine() -> None:
    found = plan([asked(3, tensor_parallel_size=2)], machine("2x80", "3x80", "2x80"))
    assert sorted(each.cards for each in found.engines) == [(0, 1), (2, 3), (5, 6)]


@pytest.mark.parametrize(
    ("nodes", "cards"),
    [
        (("", "2x80", "2x80"), (0, 1, 2, 3)),  # no machine has four
        (("", "2x80", "4x80"), (2, 3, 4, 5)),
        (("4x80", "8x80"), (0, 1, 2, 3)),
    ],
)
def test_an_engine_is_over_several_machines_only_where_none_has_enough(
    nodes: tuple[str, ...], cards: tuple[int, ...]
) -> None:
    [found] = plan([asked(tensor_parallel_size=4)], machine(*nodes)).engines
    assert found.cards == cards


def test_the_servers_own_cards_are_never_half_of_an_engine() -> None:
    [found] = plan([asked(tensor_parallel_size=4)], machine("2x80", "2x80")).engines
    assert found.verdict == "never"
    assert found.fit is not None
    assert str(found.fit.refusal).startswith("runs on 4 cards; here are 2")


@pytest.mark.parametrize("args", [{"device_ids": [0]}, {"nnodes": 2}, {"data_parallel_size": 2}])
def test_what_is_placed_already_stays_here(args: dict[str, Any]) -> None:
    one = asked(tensor_parallel_size=2, **args)
    assert one.facts is not None
    assert fit(one.spec, one.facts, machine("", "8x80")).demand.claims == {}
    need = NodeShares([one], machine("8x80", "8x80"), lambda spec: one.facts).need(one.spec)
    assert need is not None
    assert need.is_bound


def test_elsewhere_a_card_is_whole_and_here_it_is_shared() -> None:
    small = [asked(source=name, gpu_memory_utilization=0.4) for name in "ab"]
    small = [replace(each, facts=shipped_facts(SMALL)) for each in small]
    assert plan(small, machine("1x80")).turns == 1
    assert plan(small, machine("", "1x80")).turns == 2
    assert plan(small, machine("", "1x80", "1x80")).turns == 1
