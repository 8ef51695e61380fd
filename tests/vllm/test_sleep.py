"""A vLLM engine gives its card back for a while, where it was started for that."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.base import EngineDead, EngineUnavailable
from engines.fleet.first_words import first_words
from engines.fleet.sleep_state import Sleeper
from engines.registry.spec import EngineSpec
from engines.vllm.sleeping import fall_asleep, sleep_refusal, wake_up
from tests.support.engine_fixtures import answer, ask, count, on, vllm_engine

pytestmark = pytest.mark.anyio


class Asked:
    """Stands in for an AsyncLLM, and remembers what it was asked."""

    def __init__(self, device: str = "cuda", *, can_sleep: bool = True) -> None:
        self.model_config = SimpleNamespace(enable_sleep_mode=can_sleep)
        self.vllm_config = SimpleNamespace(device_config=SimpleNamespace(device_type=device))
        self.errored = False
        self.calls: list[Any] = []

    async def sleep(self, level: int = 1, mode: str = "abort") -> None:
        self.calls.append(("sleep", level, mode))

    async def wake_up(self, tags: list[str] | None = None) -> None:
        self.calls.append(("wake_up", tags))

    async def collective_rpc(self, name: str) -> None:
        self.calls.append(name)

    async def reset_prefix_cache(self) -> None:
        self.calls.append("reset_prefix_cache")


class AskedWithoutMode(Asked):
    """A release whose `sleep` has no `mode`, and cuts what runs."""

    async def sleep(self, level: int = 1) -> None:  # type: ignore[override]
        self.calls.append(("sleep", level))


@pytest.mark.parametrize("level", [1, 2])
async def test_vllm_is_asked_to_let_running_requests_end(level: int) -> None:
    llm = Asked()
    await fall_asleep(llm, level, lambda: False)
    assert llm.calls == [("sleep", level, "wait")]


async def test_where_vllm_cannot_wait_for_running_requests_they_are_waited_for_here() -> None:
    llm, running = AskedWithoutMode(), {"request"}
    sleeps = asyncio.create_task(fall_asleep(llm, 1, lambda: not running))
    await asyncio.sleep(0.1)
    assert llm.calls == []
    running.clear()
    await asyncio.wait_for(sleeps, 5)
    assert llm.calls == [("sleep", 1)]


async def test_a_wake_takes_back_what_the_sleep_gave() -> None:
    light, deep, awake = Asked(), Asked(), Asked()
    await wake_up(light, 1)
    await wake_up(deep, 2)
    await wake_up(awake, 0)
    assert light.calls == [("wake_up", None)]
    assert deep.calls == [
        ("wake_up", ["weights"]),
        "reload_weights",
        ("wake_up", ["kv_cache"]),
        "reset_prefix_cache",
    ]
    assert awake.calls == []


@pytest.mark.parametrize(
    ("llm", "words"),
    [
        (Asked(), None),
        (Asked(can_sleep=False), "right would be `enable_sleep_mode: true` among its engine"),
        (Asked("cpu", can_sleep=False), "sleeps on CUDA devices, and this one is on cpu"),
        (None, "not running"),
    ],
)
async def test_one_that_cannot_sleep_says_what_would_be_right(llm: Any, words: str | None) -> None:
    refusal = sleep_refusal(llm)
    assert (refusal is None) == (words is None)
    assert (words or "") in (refusal or "")
    if llm is not None and words:
        with pytest.raises(EngineUnavailable, match="cannot sleep"):
            await fall_asleep(llm, 1, lambda: True)
        assert llm.calls == []


@pytest.mark.vllm
@pytest.mark.parametrize("asked", [Asked, AskedWithoutMode])
async def test_an_engine_sleeps_by_the_call_that_its_vllm_has(tmp_path: Path, asked: Any) -> None:
    engine, llm = vllm_engine(tmp_path), asked()
    engine._llm = llm
    assert isinstance(engine, Sleeper)
    assert engine.sleep_refusal() is None
    await engine.sleep(2)
    await engine.wake()
    assert llm.calls[0][:2] == ("sleep", 2)
    assert llm.calls[1:3] == [("wake_up", ["weights"]), "reload_weights"]


@pytest.mark.vllm
async def test_an_engine_that_does_not_run_cannot_sleep(tmp_path: Path) -> None:
    with pytest.raises(EngineDead, match="not running"):
        await vllm_engine(tmp_path).sleep()


@on("vllm-tiny")
async def test_an_engine_not_started_for_it_says_so_and_goes_on(engine: Any) -> None:
    with pytest.raises(EngineUnavailable, match="sleeps on CUDA devices, and this one is on cpu"):
        await engine.sleep()
    assert "right would be to unload it" in (engine.sleep_refusal() or "")
    await engine.wake()
    assert count(await answer(engine, ask(max_tokens=3, ignore_eos=True))) == 3


@on("vllm-tiny")
@pytest.mark.parametrize("level", [1, 2])
async def test_a_real_engine_waits_sleeps_lives_and_wakes_to_the_same_words(
    engine: Any, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's CPU build frees no memory for it, but it stops, answers that it lives, reads its
    weights again and goes on, as on a card."""
    llm = engine._llm
    monkeypatch.setattr(llm.model_config, "enable_sleep_mode", True)
    spec = EngineSpec(kind="vllm", source="tiny")
    before = await first_words(engine, spec)
    runs = asyncio.create_task(answer(engine, ask(max_tokens=40, ignore_eos=True)))
    async with asyncio.timeout(60):
        while not engine._running:  # noqa: ASYNC110 - it is submitted in a thread
            await asyncio.sleep(0.005)
        await engine.sleep(level)
        assert count(await runs) == 40  # not aborted
        assert await llm.is_sleeping()
        await engine.check(30)
        await engine.wake()
        assert not await llm.is_sleeping()
        after = await first_words(engine, spec)
    assert before.token
    assert after.is_same(before)
