"""What a waiting request may expect: bounded, never negative, and silent where nobody knows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.outlook import LONGEST_S, Outlook, Prospect, outlook
from engines.fleet.pace import FetchPace
from engines.fleet.turns import TurnRules
from engines.fleet.view import EngineView, State

ROOM, NEED = DeviceMemory((100,)), MemoryNeed(bytes_each=60)
TURNS = TurnRules(settle_s=5.0, turn_s=60.0)
STATES: list[State] = ["cold", "fetching", "starting", "ready", "stopping", "failed"]


def pace(done: int, began_at: float = 0.0) -> FetchPace:
    return FetchPace(what="w", done=done, total=100, began=0, began_at=began_at, moved_at=0.0)


def test_a_fetch_tells_its_percent_and_its_rest_and_the_load() -> None:
    engine = EngineView(key="a", state="fetching", waiting_since=0.0)
    found = outlook("a", [engine], {"a": Prospect(load_s=15.0, pace=pace(40))}, now=40.0)
    assert found == Outlook(state="fetching", percent=40, position=1, eta_s=75.0)


def test_a_busy_engines_turn_is_waited_for() -> None:
    waiting = EngineView(
        key="a", state="fetching", is_fetched=True, waiting_since=50.0, need=NEED, load_s=10.0
    )
    busy = EngineView(key="b", state="ready", leases=1, ready_at=30.0, need=NEED, devices=(0,))
    known = {"a": Prospect(load_s=10.0)}
    assert outlook("a", [waiting, busy], known, 60.0, ROOM, TURNS).eta_s == 30.0 + 10.0


def test_who_waited_longer_comes_first_and_has_its_turn() -> None:
    late, early = (
        EngineView(key=key, state="fetching", is_fetched=True, waiting_since=since, need=NEED)
        for key, since in (("a", 2.0), ("b", 1.0))
    )
    known = {"a": Prospect(load_s=10.0), "b": Prospect(load_s=20.0)}
    found = outlook("a", [late, early], known, 60.0, ROOM, TURNS)
    assert (found.position, found.eta_s) == (2, 20.0 + 60.0 + 10.0)
    assert outlook("b", [late, early], known, 60.0, ROOM, TURNS).position == 1


def test_nothing_is_said_of_what_nobody_knows() -> None:
    never_loaded = EngineView(key="a", state="cold", waiting_since=0.0)
    assert outlook("a", [never_loaded], {}, 1.0).eta_s is None
    overdue = EngineView(key="a", state="starting")
    assert outlook("a", [overdue], {"a": Prospect(load_s=5.0, in_state_s=6.0)}, 1.0).eta_s is None


VIEWS = st.builds(
    EngineView,
    key=st.just(""),
    state=st.sampled_from(STATES),
    leases=st.integers(0, 2),
    waiting_since=st.none() | st.floats(0, 1e6),
    is_fetched=st.booleans(),
    retry_at=st.floats(0, 1e9),
    ready_at=st.floats(0, 1e6),
    load_s=st.floats(0, 1e6),
    need=st.none() | st.just(NEED),
    devices=st.sampled_from([(), (0,)]),
    is_leaving=st.booleans(),
    is_broken=st.booleans(),
)
PROSPECTS = st.builds(
    Prospect,
    in_state_s=st.floats(0, 1e6),
    load_s=st.none() | st.floats(0, 1e6),
    pace=st.none() | st.builds(pace, st.integers(0, 100), st.floats(0, 1e6)),
)


@given(st.lists(st.tuples(VIEWS, PROSPECTS), min_size=1, max_size=5), st.floats(0, 1e6))
def test_it_is_bounded_and_never_negative(
    drawn: list[tuple[EngineView, Prospect]], now: float
) -> None:
    engines = [replace(view, key=str(i)) for i, (view, _) in enumerate(drawn)]
    known = {str(i): prospect for i, (_, prospect) in enumerate(drawn)}
    for room in (None, ROOM):
        found = outlook("0", engines, known, now, room, TURNS)
        assert found.eta_s is None or 0 <= found.eta_s <= LONGEST_S
        assert found.percent is None or 0 <= found.percent <= 100
        assert found.position is None or 1 <= found.position <= len(engines)
