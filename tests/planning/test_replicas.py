"""Replicas in a plan: counted and placed, each on cards or shares of cards, and what would help."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.planning.cards import parse_cards
from engines.planning.demands import capacity
from engines.planning.machine import Machine
from engines.planning.plan import AskedEngine, FleetPlan, Placed, plan
from engines.planning.shipped import shipped_facts
from engines.registry.spec import EngineSpec

SMALL = "Qwen/Qwen3-VL-8B-Instruct"
"""26.1 GB of a card at least: two stand on one of 80 GB."""
LARGE = "mistralai/Mixtral-8x7B-Instruct-v0.1"
"""52.6 GB of each of two cards."""


def asked(source: str, replicas: int = 1, **args: object) -> AskedEngine:
    spec = EngineSpec(kind="vllm", source=source, args={"max_model_len": 32768, **args})
    facts = shipped_facts(source)
    return AskedEngine(spec=spec, aliases=(source,), facts=facts, replicas=replicas)


def large(replicas: int) -> AskedEngine:
    return asked(LARGE, replicas, tensor_parallel_size=2)


def on(cards: str, *engines: AskedEngine) -> FleetPlan:
    return plan(engines, Machine(cards=parse_cards(cards)))


def of(found: FleetPlan, source: str) -> list[Placed]:
    return [each for each in found.engines if each.asked.spec.source == source]


def remedies(placed: Placed) -> list[str]:
    return [remedy.text for remedy in placed.remedies]


def test_each_replica_has_cards_of_its_own() -> None:
    found = on("8x80", large(3), asked(SMALL, 2))
    three, two = of(found, LARGE), of(found, SMALL)
    assert [len(each.cards) for each in (*three, *two)] == [2, 2, 2, 1, 1]
    assert len({card for each in three for card in each.cards}) == 6
    assert [each.asked.spec.replica for each in three] == [0, 1, 2]
    assert {each.verdict for each in found.engines} == {"at once"}
    assert not found.short
    assert all(each.streams > 0 for each in found.engines)


def test_replicas_share_a_card_where_it_holds_both_and_divide_what_is_left_of_it() -> None:
    (alone,) = on("1x80", asked(SMALL)).engines
    pair = on("1x80", asked(SMALL, 2)).engines
    assert [each.cards for each in pair] == [(0,), (0,)]
    assert 0 < pair[0].kv_bytes == pair[1].kv_bytes < alone.kv_bytes / 2


@pytest.mark.parametrize(
    ("cards", "count", "fitting", "helps"),
    [
        ("1x80", 3, 2, "2 × 80 GB"),
        ("1x80", 64, 2, "32 × 80 GB"),
        ("2x80", 5, 4, "3 × 80 GB"),
    ],
)
def test_where_not_all_can_ever_fit_the_plan_says_how_many_and_what_would_help(
    cards: str, count: int, fitting: int, helps: str
) -> None:
    found = on(cards, asked(SMALL, count))
    assert sum(each.turn > 0 for each in found.engines) == fitting
    (missing,) = found.short
    assert (missing.verdict, found.never) == ("never", (missing,))
    assert missing.fit is not None
    assert missing.fit.refusal == f"{fitting} of {count} replicas fit here"
    assert remedies(missing) == [f"replicas: {fitting}", helps]
    more = on(helps.replace(" × ", "x").replace(" GB", ""), asked(SMALL, count))
    assert not more.short


def test_where_others_of_their_turn_take_the_room_it_is_no_never() -> None:
    found = on("4x80", large(2), *(asked(SMALL, 1, seed=seed) for seed in range(4)))
    assert found.turns == 1
    (missing,) = found.short
    assert (missing.verdict, found.never) == ("no room", ())
    assert missing.fit is not None
    assert str(missing.fit.refusal).startswith("1 of 2 replicas have room beside the others")
    assert remedies(missing) == ["replicas: 1", "6 × 80 GB"]


def test_a_model_that_fits_nowhere_is_told_once_whatever_its_replicas() -> None:
    (one,) = on("1x24", asked(SMALL, 4)).engines
    assert (one.verdict, one.asked.spec.replica) == ("never", 0)


def test_what_is_unknown_is_told_once() -> None:
    unknown = replace(asked("nobody/knows", 3), facts=None, unknown="why")
    (one,) = on("1x80", unknown).engines
    assert one.verdict == "unknown"


def test_in_a_machines_memory_they_are_counted_too() -> None:
    spec = EngineSpec(kind="vllm", source=SMALL, args={"max_model_len": 4096})
    engine = AskedEngine(spec=spec, aliases=("a",), facts=shipped_facts(SMALL), replicas=4)
    (need,) = plan([replace(engine, replicas=1)], Machine(host_bytes=10**12)).engines
    assert need.fit is not None
    each = need.fit.demand.host_bytes
    found = plan([engine], Machine(host_bytes=int(2.5 * each)))
    assert sum(placed.turn > 0 for placed in found.engines) == 2
    assert remedies(found.short[0]) == ["replicas: 2"]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["1x80", "2x80", "4x80", "8x80", "2x80,2x24", "8x141"]),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_replicas_cost_no_model_its_turn_and_never_overfill_a_card(
    cards: str, many: int, few: int
) -> None:
    without, found = on(cards, large(1), asked(SMALL)), on(cards, large(few), asked(SMALL, many))
    assert found.turns == without.turns
    firsts = [each for each in found.engines if not each.asked.spec.replica]
    assert [(e.verdict, e.turn) for e in firsts] == [(e.verdict, e.turn) for e in without.engines]
    for turn in range(1, found.turns + 1):
        for card, there in enumerate(found.machine.cards):
            held = [each for each in found.of_turn(turn) if card in each.cards]
            needs = [each.fit.need for each in held if each.fit]
            taken = sum(need.weights_bytes + need.reserve_bytes for need in needs)
            assert taken + sum(each.kv_bytes for each in held) <= capacity(there)
    for source, wanted in ((LARGE, few), (SMALL, many)):
        placed = [each for each in of(found, source) if each.turn]
        missing = [each for each in of(found, source) if each in found.short]
        assert len(placed) == wanted or missing or not placed
