"""The fleet: which engines run, who waits for them, and loads that take long or fail."""

import asyncio

import pytest

from engines.base import EngineLoadTimeout, EngineUnavailable
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import (
    PATIENT,
    QUICK,
    Workshop,
    enter,
    model,
    running,
    say,
    scripted,
    status,
    until,
)

pytestmark = pytest.mark.anyio

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


async def test_a_failed_load_refuses_every_waiting_request_and_its_status_says_why() -> None:
    spec = scripted(fail_load="8 GPUs are needed, 1 is here", load_s=0.05)
    async with running(model("a", spec), model("b", spec), backoff=PATIENT) as fleet:
        refusals = await asyncio.gather(
            *(enter(fleet, alias) for alias in ("a", "b", "a")), return_exceptions=True
        )
        for refusal in refusals:
            assert isinstance(refusal, EngineUnavailable)
            assert "GPU" not in str(refusal)
            assert 0 < refusal.retry_after_s <= 60
        failed = status(fleet, "a")
        assert (failed.state, failed.reason) == ("failed", "8 GPUs are needed, 1 is here")


async def test_a_failed_load_is_refused_at_once_until_its_backoff_is_over() -> None:
    workshop = Workshop()
    models = model("a", scripted(fail_load="no weights"))
    async with running(models, build=workshop, backoff=PATIENT) as fleet:
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="Model a cannot be loaded now; the"):
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
        with pytest.raises(EngineUnavailable):
            await enter(fleet, "a")
        reason = str(status(fleet, "a").reason)
        assert "ZeroDivisionError" in reason
        assert "/secret/path" not in reason


async def test_engines_load_one_at_a_time_and_a_waiting_request_comes_first() -> None:
    somebody_asks = asyncio.Event()

    class Loading(ScriptedEngine):
        now_loading = 0
        most = 0
        order: list[str] = []  # noqa: RUF012 - shared by the test's engines on purpose

        async def start(self) -> None:
            Loading.now_loading += 1
            Loading.most = max(Loading.most, Loading.now_loading)
            Loading.order.append(self.spec.source)
            await somebody_asks.wait()
            Loading.now_loading -= 1

    models = [
        model("one", scripted("one"), preload=True),
        model("two", scripted("two"), preload=True),
        model("asked", scripted("asked")),
    ]
    async with running(*models, build=Workshop(Loading)) as fleet:
        await until(lambda: status(fleet, "one").state == "starting")
        asked = asyncio.create_task(enter(fleet, "asked"))
        await until(lambda: fleet._by_alias["asked"].is_fetched)
        somebody_asks.set()
        await asked
        await until(fleet.is_ready)
    assert Loading.most == 1
    assert Loading.order == ["one", "asked", "two"]


async def test_one_waiting_client_that_leaves_does_not_disturb_the_others() -> None:
    async with running(model("a", scripted(load_s=0.1))) as fleet:
        stays, leaves = (asyncio.create_task(enter(fleet, "a")) for _ in range(2))
        await until(lambda: status(fleet, "a").waiting == 2)
        leaves.cancel()
        await stays
