"""The fleet: which engines run, who waits for them, and what happens when one breaks."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engines.base import (
    Delta,
    Engine,
    EngineDead,
    EngineLoadTimeout,
    EngineUnavailable,
    GenerateRequest,
    Sampling,
)
from engines.fleet import EngineStatus, Fleet
from engines.lifecycle import Action, Backoff, EngineView, Start, Stop, decide, next_retry_at
from engines.scripted import ScriptedEngine
from engines.spec import EngineSpec, ModelSpec

pytestmark = pytest.mark.anyio

QUICK = Backoff(first_s=0.01, longest_s=0.05)
PATIENT = Backoff(first_s=60.0)


def scripted(name: str = "echo", **args: Any) -> EngineSpec:
    return EngineSpec(kind="scripted", source=name, args=args)


def model(alias: str, engine: EngineSpec, preload: bool = False) -> ModelSpec:
    return ModelSpec(
        alias=alias, engine=engine, context_tokens=4096, output_tokens=512, preload=preload
    )


class Workshop:
    """Builds scripted engines and keeps them, so that a test can kill one."""

    def __init__(self, make: Callable[[EngineSpec], ScriptedEngine] = ScriptedEngine) -> None:
        self.make = make
        self.built: list[ScriptedEngine] = []

    async def __call__(self, spec: EngineSpec) -> Engine:
        engine = self.make(spec)
        self.built.append(engine)
        return engine


@asynccontextmanager
async def running(*models: ModelSpec, build: Any = None, **options: Any) -> AsyncIterator[Fleet]:
    options = {"check_interval_s": 0.01, "backoff": QUICK, **options}
    fleet = Fleet(models, build or Workshop(), **options)
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the fleet promises states, not events
            await asyncio.sleep(0.002)


def status(fleet: Fleet, alias: str) -> EngineStatus:
    return next(s for s in fleet.statuses() if alias in s.aliases)


async def say(engine: Engine, text: str) -> list[Delta]:
    request = GenerateRequest(request_id="r", sampling=Sampling(max_tokens=64), prompt=text)
    return [delta async for delta in engine.generate(request, await engine.render(request))]


def broken(fleet: Fleet) -> bool:
    return any(s.restarts for s in fleet.statuses())


# Serving


async def test_a_preloaded_model_becomes_ready_without_a_request() -> None:
    async with running(model("a", scripted(), preload=True)) as fleet:
        assert not fleet.is_ready()
        await until(fleet.is_ready)
        assert status(fleet, "a").state == "ready"


async def test_a_model_that_is_not_preloaded_loads_at_its_first_request() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        assert fleet.is_ready()
        assert (status(fleet, "a").state, workshop.built) == ("cold", [])
        async with fleet.lease("a") as engine:
            assert "".join(d.text for d in await say(engine, "hei du")) == "hei du"


async def test_aliases_with_equal_specs_share_one_engine() -> None:
    workshop = Workshop()
    models = [model("a", scripted()), model("b", scripted()), model("c", scripted(text="x"))]
    async with running(*models, build=workshop) as fleet:
        async with fleet.lease("a") as a, fleet.lease("b") as b, fleet.lease("c") as c:
            assert a is b
            assert a is not c
            assert status(fleet, "a").leases == 2
        assert status(fleet, "a").leases == 0
        assert status(fleet, "b").aliases == ("a", "b")
        assert len(workshop.built) == 2


async def test_entering_a_lease_of_a_ready_engine_never_suspends() -> None:
    async with running(model("a", scripted(), preload=True)) as fleet:
        await until(fleet.is_ready)
        with pytest.raises(StopIteration):
            fleet.lease("a").__aenter__().send(None)


async def test_an_unknown_alias_is_a_key_error() -> None:
    async with running(model("a", scripted())) as fleet:
        with pytest.raises(KeyError):
            fleet.lease("b")


# Loads that take long or fail


async def test_a_request_waits_for_a_load_no_longer_than_it_is_told() -> None:
    async with running(model("a", scripted(load_s=30)), load_timeout_s=0.05) as fleet:
        with pytest.raises(EngineLoadTimeout, match=r"a did not become ready within 0.05 s.*start"):
            async with fleet.lease("a"):
                pass
        assert status(fleet, "a").waiting == 0


async def test_a_failed_load_tells_every_waiting_request_why() -> None:
    spec = scripted(fail_load="8 GPUs are needed, 1 is here", load_s=0.05)
    async with running(model("a", spec), model("b", spec), backoff=PATIENT) as fleet:
        refusals = await asyncio.gather(
            *(enter(fleet, alias) for alias in ("a", "b", "a")), return_exceptions=True
        )
        for refusal in refusals:
            assert isinstance(refusal, EngineUnavailable)
            assert "8 GPUs are needed" in str(refusal)
            assert 0 < refusal.retry_after_s <= 60
        assert status(fleet, "a").state == "failed"


async def enter(fleet: Fleet, alias: str) -> None:
    async with fleet.lease(alias):
        pass


async def test_a_failed_load_is_refused_at_once_until_its_backoff_is_over() -> None:
    workshop = Workshop()
    models = model("a", scripted(fail_load="no weights"))
    async with running(models, build=workshop, backoff=PATIENT) as fleet:
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="Model a cannot be loaded: no weights"):
                await enter(fleet, "a")
        assert len(workshop.built) == 1


async def test_a_failed_load_is_tried_again_by_a_request_after_its_backoff() -> None:
    answers = iter([scripted(fail_load="the hub is down"), scripted()])
    workshop = Workshop(lambda spec: ScriptedEngine(next(answers)))
    async with running(model("a", scripted()), build=workshop) as fleet:
        with pytest.raises(EngineUnavailable):
            await enter(fleet, "a")
        await asyncio.sleep(QUICK.delay_s(1))
        await enter(fleet, "a")
        assert len(workshop.built) == 2


async def test_a_failed_preload_is_tried_again_by_itself() -> None:
    answers = iter([scripted(fail_load="the hub is down"), scripted()])
    workshop = Workshop(lambda spec: ScriptedEngine(next(answers)))
    async with running(model("a", scripted(), preload=True), build=workshop) as fleet:
        await until(fleet.is_ready)
        assert len(workshop.built) == 2


async def test_an_unexpected_error_in_a_load_keeps_its_text_to_the_log() -> None:
    def explode(spec: EngineSpec) -> ScriptedEngine:
        raise ZeroDivisionError("/secret/path")

    async with running(model("a", scripted()), build=Workshop(explode)) as fleet:
        with pytest.raises(EngineUnavailable, match="ZeroDivisionError") as caught:
            await enter(fleet, "a")
        assert "/secret/path" not in str(caught.value)


async def test_engines_load_one_at_a_time_and_a_waiting_request_comes_first() -> None:
    class Loading(ScriptedEngine):
        now_loading = 0
        most = 0
        order: list[str] = []  # noqa: RUF012 - shared by the test's engines on purpose

        async def start(self) -> None:
            Loading.now_loading += 1
            Loading.most = max(Loading.most, Loading.now_loading)
            Loading.order.append(self.spec.source)
            await asyncio.sleep(0.02)
            Loading.now_loading -= 1

    models = [
        model("one", scripted("one"), preload=True),
        model("two", scripted("two"), preload=True),
        model("asked", scripted("asked")),
    ]
    async with running(*models, build=Workshop(Loading)) as fleet:
        await until(lambda: status(fleet, "one").state == "starting")
        await enter(fleet, "asked")
        await until(fleet.is_ready)
    assert Loading.most == 1
    assert Loading.order == ["one", "asked", "two"]


async def test_one_waiting_client_that_leaves_does_not_disturb_the_others() -> None:
    async with running(model("a", scripted(load_s=0.1))) as fleet:
        stays, leaves = (asyncio.create_task(enter(fleet, "a")) for _ in range(2))
        await until(lambda: status(fleet, "a").waiting == 2)
        leaves.cancel()
        await stays


# Death


async def test_a_dead_engine_is_replaced_without_a_request() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        await enter(fleet, "a")
        workshop.built[0].kill()
        await until(lambda: len(workshop.built) == 2 and status(fleet, "a").state == "ready")
        assert status(fleet, "a").restarts == 1


async def test_a_request_that_sees_its_engine_die_starts_the_replacement_at_once() -> None:
    workshop = Workshop()
    models = model("a", scripted(text="a b c", die_after_tokens=2))
    async with running(models, build=workshop, check_interval_s=3600) as fleet:
        with pytest.raises(EngineDead):
            async with fleet.lease("a") as engine:
                await say(engine, "")
        async with fleet.lease("a") as engine:
            assert engine is workshop.built[1]
        assert status(fleet, "a").leases == 0


async def test_a_hung_engine_is_replaced_and_requests_wait_for_the_new_one() -> None:
    workshop = Workshop()
    models = model("a", scripted(text="a b c", hang_after_tokens=2))
    async with running(models, build=workshop) as fleet:
        with pytest.raises(EngineDead):  # stopping a hung engine ends its streams
            async with fleet.lease("a") as engine:
                await say(engine, "")
        async with fleet.lease("a") as engine:
            assert engine is workshop.built[1]


async def test_a_lease_that_outlives_its_engine_is_not_counted_on_the_next() -> None:
    workshop = Workshop()
    async with running(model("a", scripted()), build=workshop) as fleet:
        async with fleet.lease("a"):
            workshop.built[0].kill()
            await until(lambda: len(workshop.built) == 2 and status(fleet, "a").state == "ready")
            assert status(fleet, "a").leases == 0
            async with fleet.lease("a"):
                assert status(fleet, "a").leases == 1
        assert status(fleet, "a").leases == 0


async def test_an_engine_that_dies_again_and_again_is_left_alone_for_longer_and_longer() -> None:
    class Stillborn(ScriptedEngine):
        async def check(self, timeout_s: float) -> None:
            raise EngineDead("killed by the kernel")

    workshop = Workshop(Stillborn)
    backoff = Backoff(first_s=0.02, factor=100.0, longest_s=60.0)
    async with running(model("a", scripted(), preload=True), build=workshop, backoff=backoff) as f:
        await until(lambda: status(f, "a").restarts == 2 and status(f, "a").state == "cold")
        assert len(workshop.built) == 2
        assert status(f, "a").reason == "killed by the kernel"


# The end


async def test_stop_ends_every_engine_and_refuses_who_waits() -> None:
    workshop = Workshop()
    models = [model("a", scripted()), model("slow", scripted("slow", load_s=60))]
    async with running(*models, build=workshop) as fleet:
        await enter(fleet, "a")
        waiting = asyncio.create_task(enter(fleet, "slow"))
        await until(lambda: status(fleet, "slow").state == "starting" and len(workshop.built) == 2)
        began = time.monotonic()
        await fleet.stop()
        assert time.monotonic() - began < 1
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await waiting
        with pytest.raises(EngineUnavailable, match="shutting down"):
            await enter(fleet, "a")
        for engine in workshop.built:
            with pytest.raises(EngineDead):
                await engine.check(1)
        assert not fleet.is_ready()


async def test_stop_does_not_wait_for_a_build_that_takes_long() -> None:
    async def fetch(spec: EngineSpec) -> Engine:
        await asyncio.sleep(60)
        return ScriptedEngine(spec)

    async with running(model("a", scripted(), preload=True), build=fetch) as fleet:
        await until(lambda: status(fleet, "a").state == "starting")
        async with asyncio.timeout(1):
            await fleet.stop()


async def test_stop_gives_up_on_an_engine_that_does_not_end() -> None:
    class Stubborn(ScriptedEngine):
        async def stop(self) -> None:
            await asyncio.sleep(60)

    async with running(
        model("a", scripted(), preload=True), build=Workshop(Stubborn), stop_timeout_s=0.05
    ) as fleet:
        await until(fleet.is_ready)
        async with asyncio.timeout(1):
            await fleet.stop()


async def test_a_stop_during_a_replacement_still_stops_the_old_engine() -> None:
    stopped = []

    class Slow(ScriptedEngine):
        async def stop(self) -> None:
            await asyncio.sleep(0.05)
            stopped.append(self)

    workshop = Workshop(Slow)
    async with running(model("a", scripted(), preload=True), build=workshop) as fleet:
        await until(fleet.is_ready)
        workshop.built[0].kill()
        await until(lambda: status(fleet, "a").state == "stopping" and broken(fleet))
    assert stopped == [workshop.built[0]]


# Decisions


def view(key: str, **facts: Any) -> EngineView:
    return EngineView(key=key, **facts)


@pytest.mark.parametrize(
    ("engines", "actions"),
    [
        ([], []),
        ([view("a")], []),
        ([view("a", keep_ready=True)], [Start("a")]),
        ([view("a", waiting_since=1.0)], [Start("a")]),
        ([view("a", state="failed", waiting_since=1.0)], [Start("a")]),
        ([view("a", state="failed")], []),
        ([view("a", keep_ready=True, retry_at=101.0)], []),
        ([view("a", keep_ready=True), view("b", keep_ready=True)], [Start("a")]),
        ([view("a", keep_ready=True), view("b", waiting_since=5.0)], [Start("b")]),
        ([view("a", waiting_since=6.0), view("b", waiting_since=5.0)], [Start("b")]),
        ([view("a", state="starting"), view("b", waiting_since=5.0)], []),
        ([view("a", state="stopping"), view("b", waiting_since=5.0)], []),
        ([view("a", state="ready", is_broken=True), view("b", waiting_since=5.0)], [Stop("a")]),
        ([view("a", state="ready", leases=3), view("b", waiting_since=5.0)], [Start("b")]),
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
