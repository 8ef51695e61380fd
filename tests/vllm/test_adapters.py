"""LoRA adapters on a real vLLM: each answer is of the weights that it was asked of."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.base import Adapter, Delta, Engine, EngineUnavailable, GenerateRequest
from engines.registry.adapters import found_adapter
from engines.vllm.engine import VllmEngine
from tests.support.adapters import adapter_folder
from tests.support.engine_fixtures import answer, ask, on, text

pytestmark = [pytest.mark.anyio, on("vllm-lora")]

QUESTION = "What is said here, and by whom? " * 12
"""Long enough for several blocks of the prefix cache."""


WRONG: dict[str, dict[str, int]] = {
    "large": {"rank": 16},
    "false": {"rank": 8, "tensors": 64},
    "less": {"rank": 8, "tensors": 4},
    "narrow": {"hidden": 32},
    "wide": {"hidden": 128},
    "deep": {"layers": 3},
}
"""What vLLM itself would take in part ("less", "narrow", "deep") or fail at."""


class Kept:
    """A sink, as of a client that keeps up: its request goes the fast way."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    def is_ready(self) -> bool:
        return True

    def take(self, delta: Delta) -> None:
        self.deltas.append(delta)


async def said(engine: Engine, adapter: Adapter | None, *, fast: bool = True) -> str:
    request = asked(adapter, stream=fast)
    if not fast:
        return text(await answer(engine, request))
    sink = Kept()
    async for delta in engine.generate(request, await engine.render(request), sink):
        sink.deltas.append(delta)
    return text(sink.deltas)


def asked(adapter: Adapter | None, **fields: object) -> GenerateRequest:
    return ask(QUESTION, adapter=adapter, ignore_eos=True, max_tokens=16, **fields)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    home = tmp_path_factory.mktemp("adapters")
    folders = [adapter_folder(home / f"a{seed}", seed=seed, rank=seed + 3) for seed in range(1, 4)]
    return [found_adapter(str(folder), home).adapter for folder in folders]


async def alone(engine: Engine, adapters: Sequence[Adapter]) -> dict[str, str]:
    """What each says by itself, by its name; the base's is ""."""
    return {
        "": await said(engine, None, fast=False),
        **{a.name: await said(engine, a, fast=False) for a in adapters},
    }


async def test_each_says_its_own(engine: Engine, adapters: list[Adapter]) -> None:
    before = await said(engine, None)
    own = await alone(engine, adapters)
    assert len(set(own.values())) == 4
    assert own[""] == before, "the base is what it was"
    assert await alone(engine, adapters) == own


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "public"])
async def test_many_at_once_never_mix(engine: Engine, adapters: list[Adapter], fast: bool) -> None:
    """More adapters than are in one batch, and copies of requests that differ in them alone."""
    own = await alone(engine, adapters)
    order = [None, *adapters] * 6
    answers = await asyncio.gather(*(said(engine, adapter, fast=fast) for adapter in order))
    for adapter, answered in zip(order, answers, strict=True):
        assert answered == own["" if adapter is None else adapter.name]


async def test_one_that_is_not_there_ends_nothing(
    engine: Engine, adapters: list[Adapter], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.ensure_future(said(engine, adapters[0]))
    missing = Adapter(name="missing", path=str(tmp_path / "missing"))
    damaged = adapter_folder(tmp_path / "damaged")
    (damaged / "adapter_model.safetensors").write_bytes(b"nonsense")
    for adapter in (missing, Adapter(name="damaged", path=str(damaged))):
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match="adapter cannot be loaded") as refused:
                await said(engine, adapter)
            assert str(tmp_path) not in str(refused.value)
    for name, how in WRONG.items():
        wrong = adapter_folder(tmp_path / name, **how)
        with pytest.raises(EngineUnavailable, match="adapter cannot be loaded"):
            await said(engine, Adapter(name=name, path=str(wrong)))
    assert "'model.layers.0.self_attn.q_proj' is of 64 x 32; the base's of 64 x 64" in caplog.text
    assert "'model.layers.2.self_attn.q_proj' is beyond the base's 2 layers" in caplog.text
    assert await running == await said(engine, adapters[0])
    await engine.check(30)


async def test_one_that_appears_is_taken(
    engine: Engine, adapters: list[Adapter], tmp_path: Path
) -> None:
    late = Adapter(name="late", path=str(tmp_path / "late"))
    with pytest.raises(EngineUnavailable):
        await said(engine, late)
    shutil.copytree(adapters[0].path, late.path)
    assert await said(engine, late) == await said(engine, adapters[0])


async def test_first_requests_at_once_add_it_once(engine: Engine, tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "new", seed=9)
    new = found_adapter(str(folder), tmp_path).adapter
    answers = await asyncio.gather(*(said(engine, new) for _ in range(8)))
    assert len(set(answers)) == 1


async def test_others_do_not_wait_for_one_that_is_fetched(
    engine: Engine, adapters: list[Adapter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_fetched = asyncio.Event()

    async def find(adapter: Adapter) -> Path:
        if adapter.source:
            await is_fetched.wait()
        return Path(adapter.path or adapters[0].path)

    assert isinstance(engine, VllmEngine)
    monkeypatch.setattr(engine._adapters, "_find", find)
    of_the_hub = Adapter(name="owner/lora@main", source="owner/lora")
    waiting = [asyncio.ensure_future(said(engine, of_the_hub)) for _ in range(3)]
    own = found_adapter(str(adapter_folder(tmp_path / "own", seed=12)), tmp_path).adapter
    assert await said(engine, own) != await said(engine, None)
    assert not any(each.done() for each in waiting)
    is_fetched.set()
    assert set(await asyncio.gather(*waiting)) == {await said(engine, adapters[0])}
