"""Models by turns, on a clock of ours: never over the memory, nobody starves, no thrash."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.fleet_simulation import Arrival, Model, Served, Simulation, over_memory
from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.turns import TurnRules

TURNS = TurnRules(settle_s=5.0, turn_s=60.0)
LONGEST_S = 30.0
"""Of a request."""


@st.composite
def nodes(draw: st.DrawFn) -> tuple[DeviceMemory, list[Model]]:
    cards = draw(st.integers(1, 4))
    room = DeviceMemory((100,) * cards)
    need = st.builds(
        MemoryNeed, bytes_each=st.integers(1, 130), devices=st.integers(1, cards + (cards < 4))
    )
    models = [
        Model(
            key=f"m{number}",
            need=draw(need),
            load_s=draw(st.floats(0.5, 120)),
            stop_s=draw(st.floats(0, 10)),
            is_preloaded=draw(st.booleans()),
            keep_s=draw(st.sampled_from([None, 10.0, 100.0])),
        )
        for number in range(draw(st.integers(1, 6)))
    ]
    return room, models


def load(models: list[Model], seed: int, requests: int, over_s: float) -> list[Arrival]:
    drawn = random.Random(seed)
    keys = [model.key for model in models]
    return [
        Arrival(drawn.uniform(0, over_s), drawn.choice(keys), drawn.uniform(0, LONGEST_S))
        for _ in range(requests)
    ]


def two_of(*sizes: int) -> tuple[DeviceMemory, list[Model]]:
    """Models of quick loads on one card of 100."""
    needs = [MemoryNeed(bytes_each=size) for size in sizes]
    models = [Model(key=f"m{n}", need=need, load_s=1.0, stop_s=0.0) for n, need in enumerate(needs)]
    return DeviceMemory((100,)), models


def longest_wait_s(models: list[Model]) -> float:
    """Everybody else's turn before one's own: what the docs promise."""
    return sum(
        max(TURNS.turn_s, m.load_s) + LONGEST_S + m.stop_s + m.load_s + TURNS.settle_s
        for m in models
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@example(two_of(50, 51), 2, 72, 153.0)  # the last request of one that leaves ended
@given(nodes(), st.integers(0, 2**32), st.integers(1, 150), st.floats(1, 3000))
def test_whatever_comes_each_is_served_in_time_and_no_card_is_overfull(
    node: tuple[DeviceMemory, list[Model]], seed: int, requests: int, over_s: float
) -> None:
    room, models = node

    def check(views: object) -> None:
        assert not over_memory(views, room)  # type: ignore[arg-type]

    simulation = Simulation(models, room, TURNS, check)
    served = simulation.run(load(models, seed, requests, over_s))
    able = {model.key for model in models if room.can_hold(model.need)}
    assert simulation.still_waiting == 0
    assert served.refused + sum(map(len, served.waits_s.values())) == requests
    assert all(not waits for key, waits in served.waits_s.items() if key not in able)
    bound = longest_wait_s([m for m in models if m.key in able])
    assert max((w for waits in served.waits_s.values() for w in waits), default=0) <= bound


def crowd(models: int, load_s: float, turns: TurnRules = TURNS) -> Served:
    """An hour of requests every second for models that fit one at a time."""
    node = [
        Model(key=f"m{n}", need=MemoryNeed(bytes_each=60), load_s=load_s) for n in range(models)
    ]
    arrivals = [Arrival(float(s), f"m{s % models}", 2.0) for s in range(3600)]
    return Simulation(node, DeviceMemory((100,)), turns).run(arrivals)


@pytest.mark.parametrize("models", [2, 4])
@pytest.mark.parametrize("load_s", [2.0, 120.0])
def test_busy_models_are_served_by_turns_and_not_load_after_load(
    models: int, load_s: float
) -> None:
    served = crowd(models, load_s)
    turn_s = max(TURNS.turn_s, load_s) + load_s
    assert served.loads <= served.end_s / turn_s + models
    assert min(map(len, served.waits_s.values())) == 3600 // models


def test_two_that_fit_together_never_make_each_other_leave() -> None:
    node = [Model(key=key, need=MemoryNeed(bytes_each=50), load_s=20.0) for key in ("a", "b")]
    arrivals = load(node, 1, 500, 5000)
    assert Simulation(node, DeviceMemory((100,)), TURNS).run(arrivals).loads == 2


def test_a_pinned_one_stays_whatever_waits() -> None:
    pinned = Model(
        key="a", need=MemoryNeed(bytes_each=60), load_s=1, is_preloaded=True, is_pinned=True
    )
    node = [pinned, Model(key="b", need=MemoryNeed(bytes_each=60), load_s=1)]
    simulation = Simulation(node, DeviceMemory((100,)), TURNS)
    simulation.run([Arrival(10.0, "b", 1.0), Arrival(500.0, "a", 1.0)])
    assert simulation.served.loads == 1
    assert simulation.still_waiting == 1


def test_preloads_that_do_not_fit_together_wait_until_they_are_asked_for() -> None:
    node = [
        Model(key=key, need=MemoryNeed(bytes_each=60), load_s=1, is_preloaded=True)
        for key in ("a", "b")
    ]
    simulation = Simulation(node, DeviceMemory((100,)), TURNS)
    assert simulation.run([]).loads == 1
    assert simulation.run([Arrival(10.0, "b", 1.0)]).waits_s["b"] == [2.0]
