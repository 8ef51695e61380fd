"""A fleet whose engines sleep: they give their memory back and wake for a request."""

import asyncio

import pytest

from tests.support.fleets import Workshop, enter, model, running, say, scripted, status, until
from tests.support.sleepers import (
    CACHE,
    EVER,
    KEPT,
    WEIGHTS,
    answer,
    asleep,
    card_bytes,
    node,
    sleeper,
)

pytestmark = pytest.mark.anyio


async def test_an_idle_engine_sleeps_at_the_end_of_its_time_and_ends_after_a_further_one() -> None:
    workshop = Workshop()
    a = sleeper("a", keep_s=0.05)
    async with running(a, build=workshop, **node(100, stay=2.0)) as fleet:
        await enter(fleet, "a")
        await until(lambda: status(fleet, "a").state == "sleeping")
        assert card_bytes(workshop) == 0
        assert workshop.built[0].memory.host_bytes == WEIGHTS
        assert status(fleet, "a").sleep.host_bytes == WEIGHTS
        await until(lambda: status(fleet, "a").state == "cold")
        assert status(fleet, "a").unloads == {"idle": 1}
        assert (status(fleet, "a").sleep.sleeps, status(fleet, "a").sleep.level) == (1, 0)
        await enter(fleet, "a")
        assert len(workshop.built) == 2


async def test_a_request_wakes_it_and_it_is_not_loaded_again() -> None:
    workshop = Workshop()
    a = sleeper("a", keep_s=0.03)
    async with running(a, build=workshop, **node(100, stay=EVER)) as fleet:
        for wakes in range(3):
            assert await asyncio.wait_for(answer(fleet, "a"), 5) == "hei"
            await until(lambda: status(fleet, "a").state == "sleeping")
            found = status(fleet, "a")
            assert (found.loads, found.sleep.wakes, found.sleep.failed_wakes) == (1, wakes, 0)
        assert len(workshop.built) == 1


async def test_two_that_share_a_card_swap_by_sleep_and_wake() -> None:
    workshop = Workshop()
    room = node(60 + KEPT)
    async with running(sleeper("a"), sleeper("b"), build=workshop, **room) as fleet:
        for alias in "ababab":
            assert await asyncio.wait_for(answer(fleet, alias), 5) == "hei"
            assert card_bytes(workshop) == WEIGHTS + CACHE
        assert len(workshop.built) == 2
        assert [status(fleet, alias).loads for alias in "ab"] == [1, 1]
        assert status(fleet, "a").sleep.sleeps == 3


async def test_where_even_a_sleeping_one_is_in_the_way_it_is_stopped() -> None:
    workshop = Workshop()
    async with running(sleeper("a"), sleeper("b"), build=workshop, **node(60)) as fleet:
        for alias in "aba":
            await asyncio.wait_for(enter(fleet, alias), 5)
        assert status(fleet, "b").unloads == {"room": 1}
        assert len(workshop.built) == 3
        assert status(fleet, "b").sleep.sleeps == 0


async def test_one_that_sleeps_is_stopped_where_it_is_in_the_way() -> None:
    workshop = Workshop()
    b = model("b", scripted("b"))
    async with running(sleeper("a"), b, build=workshop, **node(60)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await asyncio.wait_for(enter(fleet, "b"), 5)
        assert status(fleet, "a").state == "cold"


async def test_a_busy_engine_ends_its_requests_before_it_sleeps() -> None:
    workshop = Workshop()
    room = node(60 + KEPT)
    async with running(sleeper("a"), sleeper("b"), build=workshop, **room) as fleet:
        async with fleet.lease("a") as engine:
            other = asyncio.create_task(enter(fleet, "b"))
            await until(lambda: fleet._by_alias["a"].leaving is not None)
            assert "".join(delta.text for delta in await say(engine, "hei")) == "hei"
            assert workshop.built[0].memory.level == 0
        await asyncio.wait_for(other, 5)
        assert status(fleet, "a").state == "sleeping"


async def test_the_machines_memory_is_for_as_many_as_the_budget_allows() -> None:
    a, b = sleeper("a"), sleeper("b")
    async with running(a, b, **node(200, host_bytes=2 * WEIGHTS - 1)) as fleet:
        for level, alias in ((1, "a"), (2, "b")):
            await enter(fleet, alias)
            await asleep(fleet, alias, level)
        assert [status(fleet, x).sleep.host_bytes for x in "ab"] == [WEIGHTS, 0]
        for alias in "ab":
            assert await answer(fleet, alias) == "hei"


async def test_what_is_pinned_never_sleeps() -> None:
    a, b = sleeper("a", keep_s=0.02, pinned=True), sleeper("b", keep_s=0.02)
    async with running(a, b, **node(200)) as fleet:
        await enter(fleet, "a")
        await enter(fleet, "b")
        await until(lambda: status(fleet, "b").state == "sleeping")
        assert status(fleet, "a").state == "ready"


async def test_one_whose_card_is_held_for_good_starts_anew_on_another() -> None:
    workshop = Workshop()
    a, b = sleeper("a"), sleeper("b", pinned=True)
    async with running(a, b, build=workshop, **node(100, 100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        await enter(fleet, "b")
        assert status(fleet, "b").devices == status(fleet, "a").devices == (0,)
        await asyncio.wait_for(enter(fleet, "a"), 5)
        assert status(fleet, "a").devices == (1,)


async def test_its_cards_memory_is_waited_for_before_it_wakes() -> None:
    free, seen = [[40], [55], [60]], []

    def free_bytes() -> list[int]:
        seen.append(free[0][0])
        return free.pop(0) if len(free) > 1 else free[0]

    room = node(100)
    async with running(sleeper("a"), **room) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        room["memory"].free_bytes = free_bytes
        await asyncio.wait_for(enter(fleet, "a"), 10)
    assert seen == [40, 55]  # 60, but for the 5 that it kept


async def test_the_outlook_of_one_that_sleeps_knows_its_wake() -> None:
    async with running(sleeper("a", wake_s=0.3), **node(100)) as fleet:
        await enter(fleet, "a")
        await asleep(fleet, "a")
        found = fleet.outlook("a")
        assert (found.state, found.position) == ("sleeping", 1)
        assert found.eta_s == pytest.approx(1.0)  # of 40 bytes, never seen yet
        waits = asyncio.create_task(enter(fleet, "a"))
        await until(lambda: fleet.outlook("a").state == "waking")
        assert fleet.outlook("a").position is None
        await waits
        await asleep(fleet, "a")
        eta_s = fleet.outlook("a").eta_s
        assert eta_s is not None
        assert 0.3 <= eta_s < 5.0  # as the last one took
