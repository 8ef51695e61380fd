"""What the fleet does next: decided from a snapshot of its engines, no engine needed."""

from typing import Any

import pytest

from engines.fleet.decisions import (
    Action,
    Backoff,
    EngineView,
    Fetch,
    Start,
    Stop,
    decide,
    next_retry_at,
)


def view(key: str, **facts: Any) -> EngineView:
    return EngineView(key=key, **facts)


def fetched(key: str, **facts: Any) -> EngineView:
    return view(key, state="fetching", is_fetched=True, **facts)


@pytest.mark.parametrize(
    ("engines", "actions"),
    [
        ([], []),
        ([view("a")], []),
        ([view("a", keep_ready=True)], [Fetch("a")]),
        ([view("a", waiting_since=1.0)], [Fetch("a")]),
        ([view("a", state="failed", waiting_since=1.0)], [Fetch("a")]),
        ([view("a", state="failed")], []),
        ([view("a", keep_ready=True, retry_at=101.0)], []),
        ([view("a", keep_ready=True), view("b", waiting_since=5.0)], [Fetch("a"), Fetch("b")]),
        ([view("a", state="starting"), view("b", waiting_since=5.0)], [Fetch("b")]),
        ([view("a", state="stopping"), view("b", waiting_since=5.0)], [Fetch("b")]),
        ([view("a", state="fetching"), view("b", waiting_since=5.0)], [Fetch("b")]),
        ([view("a", state="fetching")], []),
        ([fetched("a")], [Start("a")]),
        ([fetched("a", keep_ready=True), fetched("b", keep_ready=True)], [Start("a")]),
        ([fetched("a", keep_ready=True), fetched("b", waiting_since=5.0)], [Start("b")]),
        ([fetched("a", waiting_since=6.0), fetched("b", waiting_since=5.0)], [Start("b")]),
        ([view("a", state="fetching", waiting_since=1.0), fetched("b")], [Start("b")]),
        ([view("a", state="starting"), fetched("b", waiting_since=5.0)], []),
        ([view("a", state="stopping"), fetched("b", waiting_since=5.0)], []),
        ([view("a", state="ready", is_broken=True), fetched("b", waiting_since=5.0)], [Stop("a")]),
        ([view("a", state="ready", leases=3), fetched("b", waiting_since=5.0)], [Start("b")]),
    ],
)
def test_the_next_step_follows_from_the_snapshot(
    engines: list[EngineView], actions: list[Action]
) -> None:
    assert decide(engines, now=100.0) == actions


def test_the_owner_sleeps_until_the_first_retry_that_somebody_wants() -> None:
    engines = [view("a", keep_ready=True, retry_at=130.0), view("b", retry_at=110.0)]
    assert next_retry_at(engines, now=100.0) == 130.0
    assert next_retry_at(engines[1:], now=100.0) is None


def test_backoff_grows_to_its_bound_and_never_overflows() -> None:
    backoff = Backoff(first_s=1.0, factor=2.0, longest_s=60.0)
    assert [backoff.delay_s(n) for n in (0, 1, 2, 3, 7, 10**6)] == [0.0, 1.0, 2.0, 4.0, 60.0, 60.0]
