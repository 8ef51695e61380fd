"""A fleet goes on: slow downloads, starts that hang, slow ends, and bugs of our own."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from engines.base import Engine, EngineBroken, EngineLoadTimeout, EngineUnavailable
from engines.fleet.start_limit import StartLimit
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from engines.weights.size import weights_bytes
from tests.support.fleets import PATIENT, Workshop, enter, model, running, scripted, status, until

pytestmark = pytest.mark.anyio


async def test_a_long_download_holds_up_no_other_model() -> None:
    arrived = asyncio.Event()

    async def build(spec: EngineSpec) -> Engine:
        if spec.source == "huge":
            await arrived.wait()
        return ScriptedEngine(spec)

    models = [model("huge", scripted("huge"), preload=True), model("small", scripted("small"))]
    async with running(*models, build=build) as fleet:
        await until(lambda: status(fleet, "huge").state == "fetching")
        await enter(fleet, "small")
        assert status(fleet, "huge").state == "fetching"
        arrived.set()
        await until(fleet.is_ready)


async def test_a_request_that_waits_for_a_download_is_told_so() -> None:
    async def build(spec: EngineSpec) -> Engine:
        await asyncio.Event().wait()
        raise AssertionError

    async with running(model("a", scripted()), build=build, load_timeout_s=0.05) as fleet:
        with pytest.raises(EngineLoadTimeout, match="its engine is fetching"):
            await enter(fleet, "a")


async def test_a_start_that_hangs_is_ended_and_the_next_has_its_turn() -> None:
    workshop = Workshop()
    models = [model("hangs", scripted("hangs", load_s=60)), model("b", scripted("b"))]
    limit = StartLimit(base_s=0.05)
    async with running(*models, build=workshop, start_limit=limit, backoff=PATIENT) as fleet:
        with pytest.raises(EngineUnavailable, match="the server's log says why"):
            await enter(fleet, "hangs")
        assert status(fleet, "hangs").reason == "its start took longer than 0.05 s"
        with pytest.raises(Exception, match="told to die"):
            await workshop.built[0].check(1)
        await enter(fleet, "b")


async def test_a_models_own_limit_of_its_start_beats_the_servers_and_the_longest_counts() -> None:
    slow = scripted("slow", load_s=0.2)
    patient = replace(model("patient", slow), start_timeout_s=60.0)
    hasty = replace(model("hasty", slow), start_timeout_s=0.01)
    limit = StartLimit.of(0.05)
    async with running(patient, hasty, start_limit=limit, backoff=PATIENT) as fleet:
        await enter(fleet, "hasty")
    async with running(hasty, start_limit=StartLimit(), backoff=PATIENT) as fleet:
        with pytest.raises(EngineUnavailable):
            await enter(fleet, "hasty")
        assert status(fleet, "hasty").reason == "its start took longer than 0.01 s"


def test_a_limit_that_was_set_holds_for_weights_of_every_size() -> None:
    assert [StartLimit.of(40).seconds(size) for size in (0, 2**40)] == [40, 40]
    assert StartLimit.of(None) == StartLimit()


def test_a_start_may_take_longer_the_larger_the_weights_are(tmp_path: Path) -> None:
    assert StartLimit().seconds(0) == 300
    assert StartLimit().seconds(10 * 2**30) == 500
    (tmp_path / "model-00001-of-00002.gguf").write_bytes(b"x" * 10)
    (tmp_path / "model-00002-of-00002.gguf").write_bytes(b"x" * 5)
    (tmp_path / "other.safetensors").write_bytes(b"x" * 7)
    assert weights_bytes(tmp_path / "model-00001-of-00002.gguf") == 15
    assert weights_bytes(tmp_path / "other.safetensors") == 7
    assert weights_bytes(tmp_path) == 22


async def test_the_next_start_waits_for_the_end_of_a_broken_engine() -> None:
    gone = asyncio.Event()

    class SlowToEnd(ScriptedEngine):
        async def stop(self) -> None:
            await super().stop()
            await gone.wait()

    workshop = Workshop(SlowToEnd)
    async with running(
        model("a", scripted(), preload=True), build=workshop, stop_timeout_s=0.01
    ) as fleet:
        await until(fleet.is_ready)
        workshop.built[0].kill()
        await until(lambda: status(fleet, "a").state == "stopping")
        await asyncio.sleep(0.1)  # ten times as long as a stop of the server would wait
        assert status(fleet, "a").state == "stopping"
        assert len(workshop.built) == 1
        gone.set()
        await until(fleet.is_ready)
        assert len(workshop.built) == 2


async def test_an_unexpected_error_leaves_the_fleet_at_work() -> None:
    def explode() -> None:
        raise ZeroDivisionError

    models = [model("a", scripted("a"), preload=True), model("b", scripted("b"))]
    async with running(*models, on_ready=explode) as fleet:
        await until(fleet.is_ready)
        await enter(fleet, "a")
        await enter(fleet, "b")


async def test_what_can_never_start_here_is_not_tried_again_and_says_so() -> None:
    class Broken(ScriptedEngine):
        async def start(self) -> None:
            raise EngineBroken("its library cannot be imported")

    workshop = Workshop(Broken)
    models = [model("a", scripted("a"), preload=True), model("b", scripted("b"))]
    async with running(*models, build=workshop) as fleet:
        await until(lambda: status(fleet, "a").is_hopeless)
        for _ in range(2):
            with pytest.raises(EngineBroken, match="can never be loaded here; the server's log"):
                await enter(fleet, "a")
        with pytest.raises(EngineUnavailable):
            await enter(fleet, "b")
        await asyncio.sleep(0.2)  # four times the longest pause before another try
        assert len(workshop.built) == 2


async def test_a_client_reads_no_path_of_this_machine_and_the_log_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = scripted(fail_load="vLLM refuses /data/models/kimi-k2: no /etc/x.json")
    async with running(model("a", spec), backoff=PATIENT) as fleet:
        with pytest.raises(EngineUnavailable) as refused:
            await enter(fleet, "a")
        assert str(refused.value) == "Model a cannot be loaded now; the server's log says why."
    assert "/data/models/kimi-k2" in caplog.text
