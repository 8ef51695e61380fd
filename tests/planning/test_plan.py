"""A whole plan: what fits of the shipped registry, what never does, and what would."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.planning.cards import labelled_card, parse_cards
from engines.planning.demands import capacity, fit, fit_vllm
from engines.planning.engine_arguments import vllm_arguments
from engines.planning.machine import Machine
from engines.planning.plan import AskedEngine, FleetPlan, plan
from engines.planning.remedies import remedies
from engines.planning.shipped import shipped_facts, shipped_names
from engines.registry.spec import EngineSpec
from tests.support.fleet_page import plan_on


def asked(source: str, **args: object) -> AskedEngine:
    spec = EngineSpec(kind="vllm", source=source, args=args)
    return AskedEngine(spec=spec, aliases=(source,), facts=shipped_facts(source))


def verdicts(found: FleetPlan) -> dict[str, str]:
    return {each.asked.aliases[0]: each.verdict for each in found.engines}


ALL = {
    *("mixtral-8x7b", "qwen3-80b-instruct", "qwen3-80b-thinking", "qwen3-235b-thinking"),
    *("qwen3-235b-instruct", "deepseek-v3", "deepseek-r1", "llama-3.1-405b", "kimi-k2"),
    *("qwen3-coder-480b", "qwen3-vl-8b", "llamaguard-4"),
}


@pytest.mark.parametrize(
    ("node", "never"),
    [
        ("1x24", ALL),
        ("2x24", ALL),
        ("1x80", ALL - {"qwen3-vl-8b", "llamaguard-4"}),
        ("8x80", {"deepseek-v3", "deepseek-r1", "kimi-k2", "qwen3-coder-480b"}),
        ("8x141", {"kimi-k2"}),
        ("8x180", set()),
    ],
)
def test_what_never_fits_is_what_the_registrys_comments_say(node: str, never: set[str]) -> None:
    assert {name for name, v in verdicts(plan_on(node)).items() if v == "never"} == never


def test_the_small_profile_fits_one_card_at_once() -> None:
    (engine,) = plan_on("1x24", "small").engines
    assert (engine.verdict, len(engine.asked.aliases)) == ("at once", 12)


def test_whoever_shares_a_turn_has_cards_of_the_turn() -> None:
    found = plan_on("8x141")
    for turn in range(1, found.turns + 1):
        for card, there in enumerate(found.machine.cards):
            held = [each for each in found.of_turn(turn) if card in each.cards]
            taken = [e.fit.need.weights_bytes + e.fit.need.reserve_bytes for e in held if e.fit]
            assert sum(taken) + sum(each.kv_bytes for each in held) <= capacity(there)


def test_what_is_left_of_a_card_becomes_streams() -> None:
    alone = plan([asked("Qwen/Qwen3-VL-8B-Instruct", max_model_len=32768)], on("1x80"))
    (engine,) = alone.engines
    need = engine.fit and engine.fit.need
    assert need
    room = capacity(alone.machine.cards[0]) - need.weights_bytes - need.reserve_bytes
    assert engine.streams == room // (32768 * 147_456)


def on(cards: str) -> Machine:
    return Machine(cards=parse_cards(cards))


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"tensor_parallel_size": 3}, "32 heads do not divide over tensor_parallel_size 3"),
        ({"tensor_parallel_size": 2}, "runs on 2 cards; here is 1"),
        ({"kv_cache_memory_bytes": 2**20}, "hold no stream of 32768 tokens"),
        ({"gpu_memory_utilization": 0.2}, "80 GB gives 16.9"),
        ({"max_model_len": 262144 * 4}, "of KV cache for 1048576 tokens"),
    ],
)
def test_a_refusal_says_the_numbers(args: dict[str, object], reason: str) -> None:
    model = asked("Qwen/Qwen3-VL-8B-Instruct", **{"max_model_len": 32768, **args})
    assert model.facts
    refusal = fit(model.spec, model.facts, on("1x80")).refusal
    assert refusal is not None
    assert reason in refusal


@pytest.mark.parametrize(
    ("source", "args", "divides"),
    [
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", {"tensor_parallel_size": 8}, False),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", {"tensor_parallel_size": 4}, True),
        (
            "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
            {"tensor_parallel_size": 8, "enable_expert_parallel": True},
            True,
        ),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", {"tensor_parallel_size": 8}, True),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {"tensor_parallel_size": 16}, True),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {"tensor_parallel_size": 32}, False),
        ("meta-llama/Llama-Guard-4-12B", {"tensor_parallel_size": 16}, False),
        ("meta-llama/Llama-Guard-4-12B", {"tensor_parallel_size": 8}, True),
    ],
)
def test_parallelism_must_divide_heads_and_blocks(
    source: str, args: dict[str, object], divides: bool
) -> None:
    model = asked(source, max_model_len=4096, **args)
    assert model.facts
    refusal = fit(model.spec, model.facts, on("32x180")).refusal
    assert (refusal is None) == divides, refusal


def test_every_remedy_that_is_told_would_fit() -> None:
    for node in ("1x24", "2x24", "1x80", "4x80", "8x80", "8x141"):
        for each in plan_on(node).never:
            assert each.remedies, each.asked.aliases
            for remedy in each.remedies:
                source = remedy.source or each.asked.spec.source
                args = {**each.asked.spec.args, **(remedy.args or {})}
                changed = replace(each.asked.spec, source=source, args=args)
                machine = on(node)
                if remedy.kind == "cards":
                    machine = on(remedy.text.partition(" GB")[0].replace(" × ", "x"))
                facts = shipped_facts(source)
                assert facts is not None
                assert fit(changed, facts, machine).refusal is None, remedy


def test_a_shorter_context_is_the_longest_that_fits() -> None:
    model = asked("Qwen/Qwen3-VL-8B-Instruct", max_model_len=32768)
    assert model.facts
    (shorter,) = [r for r in remedies(model.spec, model.facts, on("1x24")) if r.kind == "context"]
    assert shorter.args
    tokens = int(shorter.args["max_model_len"])
    for length, fits in ((tokens, True), (tokens + 1024, False)):
        args = vllm_arguments(EngineSpec(kind="vllm", source="m", args={"max_model_len": length}))
        assert (fit_vllm(model.spec, model.facts, args, on("1x24")).refusal is None) == fits


def test_what_is_unknown_is_in_no_turn_and_refuses_nothing() -> None:
    spec = EngineSpec(kind="vllm", source="some/model")
    found = plan([AskedEngine(spec=spec, aliases=("a",), unknown="why")], on("1x24"))
    assert (found.engines[0].verdict, found.turns, found.never) == ("unknown", 0, ())


def test_without_cards_vllm_is_planned_in_memory() -> None:
    model = asked("Qwen/Qwen3-0.6B", max_model_len=4096)
    there = Machine(host_bytes=8 * 10**9, cpu_dtype="F32", cpu_cache_bytes=2**30)
    (engine,) = plan([model], there).engines
    assert engine.verdict == "at once"
    (small,) = plan([model], replace(there, host_bytes=10**9)).engines
    assert small.verdict == "never"
    assert small.fit
    assert "the machine has 1.0" in str(small.fit.refusal)
    (unknown,) = plan([model], replace(there, host_bytes=None)).engines
    assert unknown.verdict == "at once"


SOURCES = sorted(shipped_names())
REGISTRIES = st.lists(
    st.builds(
        lambda source, size, context: asked(
            source, tensor_parallel_size=size, max_model_len=context
        ),
        st.sampled_from(SOURCES),
        st.sampled_from([1, 2, 4, 8]),
        st.sampled_from([4096, 32768, 131072]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each.spec.key,
)
CARDS = st.lists(st.sampled_from([24.0, 80.0, 141.0]), min_size=1, max_size=7)
RANK = {"at once": 0, "by turns": 1, "never": 2}


@settings(deadline=None, max_examples=60)
@given(REGISTRIES, CARDS, st.sampled_from([24.0, 80.0, 141.0]), st.integers(0, 7))
def test_one_card_more_never_makes_a_plan_worse(
    models: list[AskedEngine], labels: list[float], more: float, place: int
) -> None:
    before = plan(models, Machine(cards=tuple(map(labelled_card, labels))))
    cards = [*labels[:place], more, *labels[place:]]
    after = plan(models, Machine(cards=tuple(map(labelled_card, cards))))
    assert after.turns <= before.turns or len(after.never) < len(before.never)
    for old, new in zip(before.engines, after.engines, strict=True):
        assert new.verdict != "never" or old.verdict == "never"
        if len(after.never) == len(before.never):
            assert RANK[new.verdict] <= RANK[old.verdict]


@settings(deadline=None, max_examples=60)
@given(REGISTRIES, CARDS)
def test_an_engine_that_fits_alone_is_never_never(
    models: list[AskedEngine], labels: list[float]
) -> None:
    machine = Machine(cards=tuple(map(labelled_card, labels)))
    together = plan(models, machine)
    for each, model in zip(together.engines, models, strict=True):
        (alone,) = plan([model], machine).engines
        assert (each.verdict == "never") == (alone.verdict == "never")


SMALL, LARGE = "Qwen/Qwen3-VL-8B-Instruct", "meta-llama/Llama-Guard-4-12B"


@pytest.mark.parametrize(
    ("pinned", "cards", "clashing", "kept_out"),
    [
        ((), "1x24", [], []),
        ((SMALL, LARGE), "1x40", [SMALL, LARGE], []),
        ((SMALL, LARGE), "2x40", [], []),
        ((SMALL,), "1x40", [], [LARGE]),
        ((LARGE,), "1x80", [], []),
    ],
)
def test_pins_that_leave_no_room_are_told(
    pinned: tuple[str, ...], cards: str, clashing: list[str], kept_out: list[str]
) -> None:
    both = [
        replace(asked(name, max_model_len=8192), is_pinned=name in pinned)
        for name in (SMALL, LARGE)
    ]
    found = plan(both, on(cards))
    assert found.named(found.pins.clashing) == clashing
    assert found.named(found.pins.kept_out) == kept_out
    assert found.is_possible == (not (clashing or kept_out or found.never))
