"""Models that sleep, by turns and on a clock of ours: never over the cards' memory nor the
machine's, nobody starves, what is pinned never sleeps."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fleet_simulation import Arrival, Model, Served, Simulation, over_memory
from engines.fleet.claims import Claims
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.sleep_rules import SleepRules
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView

TURNS = TurnRules(settle_s=5.0, turn_s=60.0)
LONGEST_S = 30.0
"""Of a request."""


@st.composite
def needs(draw: st.DrawFn, cards: int) -> MemoryNeed:
    """Of a model on cards, or of one in the machine's memory."""
    if draw(st.integers(0, 5)) == 0:
        return MemoryNeed(devices=0, host_bytes=draw(st.integers(1, 100)))
    each, devices = draw(st.integers(10, 100)), draw(st.integers(1, cards))
    return MemoryNeed(
        bytes_each=each,
        devices=devices,
        asleep_bytes_each=draw(st.integers(0, 10)),
        weights_bytes=draw(st.integers(0, each * devices)),
    )


@st.composite
def nodes(draw: st.DrawFn) -> tuple[DeviceMemory, SleepRules, list[Model]]:
    cards = draw(st.integers(1, 3))
    spare = draw(st.sampled_from([(), (8,) * cards]))
    room = DeviceMemory((100,) * cards, draw(st.integers(100, 300)), spare=spare)
    rules = SleepRules(host_bytes=draw(st.integers(0, 200)), stay=draw(st.floats(0, 6)))
    models = []
    for number in range(draw(st.integers(1, 5))):
        need = draw(needs(cards))
        models.append(
            Model(
                key=f"m{number}",
                need=need,
                load_s=draw(st.floats(1, 120)),
                stop_s=draw(st.floats(0, 10)),
                is_preloaded=draw(st.booleans()),
                keep_s=draw(st.sampled_from([None, 10.0, 100.0])),
                can_sleep=bool(need.devices) and draw(st.integers(0, 3)) > 0,
                sleep_s=draw(st.floats(0, 10)),
                wakes_s=(draw(st.floats(0.1, 20)), draw(st.floats(0.1, 60))),
            )
        )
    return room, rules, models


def load(models: Sequence[Model], seed: int, requests: int, over_s: float) -> list[Arrival]:
    drawn = random.Random(seed)
    keys = [model.key for model in models]
    return [
        Arrival(drawn.uniform(0, over_s), drawn.choice(keys), drawn.uniform(0, LONGEST_S))
        for _ in range(requests)
    ]


def checked(
    room: DeviceMemory, rules: SleepRules, pinned: frozenset[str] = frozenset()
) -> Callable[[Sequence[EngineView]], None]:
    def check(views: Sequence[EngineView]) -> None:
        assert not over_memory(views, room)
        assert sum(view.host_weights_bytes for view in views) <= rules.host_bytes
        abed = ("falling_asleep", "sleeping")
        assert not any(view.leases for view in views if view.state in abed)
        assert not [view.key for view in views if view.state in abed and view.key in pinned]

    return check


def longest_wait_s(models: Sequence[Model]) -> float:
    """Everybody else's turn before one's own, whether they sleep or stop."""
    return sum(
        max(TURNS.turn_s, m.load_s, *m.wakes_s)
        + LONGEST_S
        + (m.stop_s + m.load_s + m.sleep_s + max(m.wakes_s))
        + TURNS.settle_s
        for m in models
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(nodes(), st.integers(0, 2**32), st.integers(1, 120), st.floats(1, 3000))
def test_whatever_sleeps_each_is_served_in_time_and_no_memory_is_overfull(
    node: tuple[DeviceMemory, SleepRules, list[Model]], seed: int, requests: int, over_s: float
) -> None:
    room, rules, models = node
    simulation = Simulation(models, room, TURNS, checked(room, rules), rules)
    served = simulation.run(load(models, seed, requests, over_s))
    assert simulation.still_waiting == 0
    assert sum(map(len, served.waits_s.values())) == requests
    longest_s = max((w for waits in served.waits_s.values() for w in waits), default=0)
    assert longest_s <= longest_wait_s(models)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(nodes(), st.integers(0, 2**32), st.integers(1, 80))
def test_what_is_pinned_never_sleeps(
    node: tuple[DeviceMemory, SleepRules, list[Model]], seed: int, requests: int
) -> None:
    room, rules, models = node
    first = models[0]
    models[0] = Model(
        key=first.key, need=first.need, load_s=1.0, is_pinned=True, can_sleep=True, keep_s=10.0
    )
    check = checked(room, rules, frozenset({first.key}))
    simulation = Simulation(models, room, TURNS, check, rules)
    simulation.run(load(models, seed, requests, 1000.0), until_s=20_000)
    assert simulation.served.waits_s[first.key] or not any(
        arrival.key == first.key for arrival in load(models, seed, requests, 1000.0)
    )


def crowd(can_sleep: bool, host_bytes: int) -> Served:
    """An hour of requests every 40 s, in turn for two models that fit one at a time."""
    need = MemoryNeed(bytes_each=90, asleep_bytes_each=5, weights_bytes=40)
    node = [
        Model(key=k, need=need, load_s=100.0, can_sleep=can_sleep, sleep_s=1.0) for k in ("a", "b")
    ]
    room = DeviceMemory((100,), 1000)
    rules = SleepRules(host_bytes=host_bytes)
    simulation = Simulation(node, room, TURNS, checked(room, rules), rules)
    return simulation.run([Arrival(40.0 * n, "ab"[n % 2], 2.0) for n in range(90)])


def test_models_that_sleep_are_loaded_once_and_swapped_by_sleep_and_wake() -> None:
    slept, stopped = crowd(True, 80), crowd(False, 80)
    assert slept.loads == 2
    assert slept.wakes == slept.sleeps - 1 > 80
    assert stopped.sleeps == 0
    assert stopped.loads > 20
    settled = [wait for waits in slept.waits_s.values() for wait in waits[5:]]
    assert max(settled) == 3.0  # a sleep and a wake


@pytest.mark.parametrize(
    ("asleep", "budget", "host", "levels"),
    [
        ([], 100, 1000, 1),
        ([], 99, 1000, 2),
        ([], 0, 1000, 2),
        ([60], 160, 1000, 1),
        ([60], 159, 1000, 2),
        ([], 100, 99, 2),  # other engines' memory, or the machine's own
        ([60], 1000, 150, 2),
        ([60], 1000, None, 1),
    ],
)
def test_weights_stay_in_the_machines_memory_while_it_has_room_for_them(
    asleep: list[int], budget: int, host: int | None, levels: int
) -> None:
    room, rules = DeviceMemory((1000,), host), SleepRules(host_bytes=budget)
    sleeping = [
        EngineView(key=str(n), state="sleeping", sleep_level=1, weights_bytes=size)
        for n, size in enumerate(asleep)
    ]
    engine = EngineView(key="e", state="ready", can_sleep=True, weights_bytes=100)
    assert Claims([*sleeping, engine], room, rules).level(engine) == levels
