"""LoRA adapters on llama.cpp: each answer is that of the merged weights, whoever runs beside it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.base import Adapter, Engine, EngineUnavailable
from engines.build import EngineBuilder
from engines.llamacpp.adapters import LlamacppAdapters
from engines.llamacpp.engine import LlamacppEngine
from engines.llamacpp.task import Item, Task
from engines.llamacpp.wire import Chunk
from engines.registry.adapters import found_adapter
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from tests.support.adapters import adapter_files, adapter_folder
from tests.support.bad_loras import bad_loras
from tests.support.engine_fixtures import answer, ask, text
from tests.support.hub import running_hub
from tests.support.lora_ggufs import Arch, lora_gguf, tiny_gguf

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # engines of their own, each up in a second

QUESTION = "What is said here, and by whom? " * 6
TWICE = "it has 'blk.0.attn_q.weight.lora_a' twice"
REMOVED = "is of kind 4; right would be"
THREADS = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}


def engine_on(gguf: Path, *adapters: Adapter, **args: Any) -> LlamacppEngine:
    spec = EngineSpec(
        kind="llamacpp",
        source=str(gguf),
        args={"n_ctx": 4096, **THREADS, **args},
        adapters=adapters,
    )
    return LlamacppEngine(spec, gguf)


async def said(engine: Engine, adapter: Adapter | None = None, **fields: Any) -> str:
    asked = {"ignore_eos": True, "max_tokens": 24, "prompt": QUESTION, **fields}
    request = ask(adapter=adapter, **asked)
    return text(await answer(engine, request))


async def alone(gguf: Path) -> str:
    engine = engine_on(gguf)
    await engine.start()
    try:
        return await said(engine)
    finally:
        await engine.stop()


@dataclass
class Site:
    home: Path
    base: Path
    folders: list[Path]
    merged: list[str]
    """What the weights say alone, and with each adapter merged into them."""


@pytest.fixture(scope="module", params=["llama", "qwen3"])
async def site(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Site:
    arch: Arch = request.param
    home = tmp_path_factory.mktemp(arch)
    made = make_llama(home / "tiny", seed=1)  # its likeliest tokens stand out
    folders = [adapter_folder(home / f"a{seed}", seed=seed, rank=seed + 2) for seed in (1, 2)]
    base = tiny_gguf(made, home / "base.gguf", arch)
    files = [base, *(tiny_gguf(made, home / f"{f.name}.gguf", arch, f) for f in folders)]
    return Site(home, base, folders, [await alone(file) for file in files])


@pytest.fixture
async def engine(site: Site) -> AsyncIterator[LlamacppEngine]:
    engine = engine_on(site.base, *own(site))
    await engine.start()
    yield engine
    await engine.stop()


def own(site: Site) -> list[Adapter]:
    return [found_adapter(str(folder), site.home).adapter for folder in site.folders]


async def test_each_says_what_the_merged_weights_say(site: Site, engine: LlamacppEngine) -> None:
    assert len(set(site.merged)) == 3
    for _ in range(2):
        assert [await said(engine, a) for a in (None, *own(site))] == site.merged
    assert [await said(engine, a) for a in (*own(site)[::-1], None)] == site.merged[::-1]


async def test_a_gguf_is_the_folder_s_own(site: Site) -> None:
    arch: Arch = "qwen3" if site.home.name.startswith("qwen3") else "llama"
    file = lora_gguf(site.folders[0], site.home / "lora.gguf", arch)
    gguf = found_adapter(str(file), site.home).adapter
    engine = engine_on(site.base, gguf)
    await engine.start()
    assert [await said(engine, a) for a in (gguf, None)] == [site.merged[1], site.merged[0]]
    await engine.stop()


async def test_many_at_once_never_mix(site: Site, engine: LlamacppEngine) -> None:
    order = [None, *own(site)] * 8
    answers = await asyncio.gather(*(said(engine, adapter) for adapter in order))
    assert answers == site.merged * 8


async def test_long_prompts_are_read_with_their_adapter(site: Site, engine: LlamacppEngine) -> None:
    """In pieces, each a call of its own."""
    long = "What is said here? " * 90
    tuned = own(site)[0]
    at_once = await asyncio.gather(
        *(said(engine, a, prompt=long, max_tokens=8) for a in (tuned, None, tuned, None))
    )
    [both] = {(first, second) for first, second in zip(at_once[::2], at_once[1::2], strict=True)}
    assert both[0] != both[1]
    other = engine_on(site.home / f"{site.folders[0].name}.gguf")
    await other.start()
    assert await said(other, prompt=long, max_tokens=8) == both[0]
    await other.stop()


async def cached(engine: Engine, adapter: Adapter | None, salt: str | None = None) -> int:
    fields: dict[str, Any] = {"max_tokens": 2, "ignore_eos": True, "cache_salt": salt}
    request = ask(prompt=QUESTION, adapter=adapter, **fields)
    return sum(delta.cached_tokens for delta in await answer(engine, request))


async def test_what_one_has_read_is_of_no_use_to_another(
    site: Site, engine: LlamacppEngine
) -> None:
    first, second = own(site)
    assert await cached(engine, None) == 0
    assert await cached(engine, first) == 0
    assert await cached(engine, second) == 0
    assert await cached(engine, second) > 100
    assert await cached(engine, None) == 0


async def test_an_owner_learns_nothing_of_others_by_way_of_an_adapter(
    site: Site, engine: LlamacppEngine
) -> None:
    """Not even whether his own is still there: another's with the base may have taken its slot."""
    tuned = own(site)[0]
    assert await cached(engine, tuned, "mine") == 0
    assert await cached(engine, tuned, "mine") > 100
    assert await cached(engine, None, "another's") == 0
    asked = [(a, salt) for a in (tuned, None) for salt in ("mine", "another's", "mine")]
    assert [await cached(engine, *each) for each in asked] == [0] * 6


async def test_several_choices_have_one_adapter(site: Site, engine: LlamacppEngine) -> None:
    request = ask(prompt=QUESTION, adapter=own(site)[1], n=3, max_tokens=24, ignore_eos=True)
    deltas, other = await asyncio.gather(answer(engine, request), said(engine))
    for index in range(3):
        assert "".join(d.text for d in deltas if d.index == index) == site.merged[2]
    assert other == site.merged[0]


async def test_who_waits_for_another_adapter_waits_for_those_that_run_alone(
    site: Site, engine: LlamacppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base's requests come on and on; in llama.cpp's own slots 84 went before one."""
    assert engine._running is not None
    slots, tuned = engine._running.slots, own(site)[0]
    submit, ahead, ended, ended_before = slots.submit, 0, 0, -1

    def noted(task: Task) -> None:
        nonlocal ahead, ended, ended_before
        if task.adapter == tuned.name:  # from now on others are behind it
            ahead, ended, ended_before = len(slots._running) + len(slots._waiting), 0, -1
        receive = task.receive

        def received(task: Task, item: Item) -> None:
            nonlocal ended, ended_before
            ended += not task.adapter and not isinstance(item, Chunk | list | str)
            if task.adapter and ended_before < 0:
                ended_before = ended  # it runs; who ends later may have come behind it
            receive(task, item)

        task.receive = received
        submit(task)

    monkeypatch.setattr(slots, "submit", noted)
    is_over = asyncio.Event()

    async def on_and_on() -> None:
        while not is_over.is_set():
            await said(engine, max_tokens=100)

    beside = [asyncio.ensure_future(on_and_on()) for _ in range(6)]
    for _ in range(5):
        async with asyncio.timeout(60):
            assert await said(engine, tuned) == site.merged[1]
        assert 0 <= ended_before <= ahead <= 2 * len(beside)
    is_over.set()
    await asyncio.gather(*beside)


async def test_an_abort_leaves_its_turn_to_others(site: Site, engine: LlamacppEngine) -> None:
    running = ask(prompt=QUESTION, max_tokens=2000, ignore_eos=True)
    waiting = ask(prompt=QUESTION, adapter=own(site)[0], max_tokens=2000, ignore_eos=True)
    stream = engine.generate(running, await engine.render(running))
    await anext(stream)
    behind = asyncio.ensure_future(answer(engine, waiting))
    last = asyncio.ensure_future(said(engine, own(site)[1]))
    while waiting.request_id not in engine._runs:
        await anext(stream)
    await engine.abort(waiting.request_id)
    assert [delta.finish_reason for delta in await behind] == ["abort"]
    await engine.abort(running.request_id)
    assert [delta async for delta in stream][-1].finish_reason == "abort"
    assert await last == site.merged[2]


@pytest.mark.parametrize(
    "how",
    [
        {"rank": 8, "tensors": 64},
        {"hidden": 128},
        {"layers": 3},
    ],
    ids=["another rank", "another model's", "more layers"],
)
async def test_a_bad_one_costs_its_own_alias_alone(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: dict[str, int]
) -> None:
    good = own(site)[0]
    bad = Adapter(name="bad", path=str(adapter_folder(tmp_path / "bad", **how)))
    gone = Adapter(name="gone", path=str(tmp_path / "gone"))
    engine = engine_on(site.base, bad, gone, good)
    await engine.start()
    for adapter in (bad, gone, Adapter(name="unknown", path="/x")):
        with pytest.raises(EngineUnavailable, match="adapter cannot be loaded now") as refused:
            await said(engine, adapter)
        assert str(tmp_path) not in str(refused.value)
    assert [await said(engine, a) for a in (good, None)] == [site.merged[1], site.merged[0]]
    assert caplog.text.count("cannot be loaded: ") == 2
    await engine.stop()


async def test_one_that_llama_cpp_refuses_costs_its_own_alias_alone(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing here would have seen what is wrong with it: its start fails, or ends."""
    arch: Arch = "qwen3" if site.home.name.startswith("qwen3") else "llama"
    file = lora_gguf(site.folders[1], tmp_path / "good.gguf", arch)
    bad = bad_loras(file.read_bytes())
    for number, name in enumerate(("its adapter.lora.alpha is no 32-bit float", TWICE, REMOVED)):
        (tmp_path / f"{number}.gguf").write_bytes(bad[name])
    worse = [Adapter(name=str(n), path=str(tmp_path / f"{n}.gguf")) for n in range(3)]
    first, second = own(site)
    monkeypatch.setattr("engines.llamacpp.adapter_gguf.check_form", lambda file: None)
    for adapters in ([worse[0], first, worse[1], second, worse[2]], [first, worse[1]], [worse[2]]):
        engine = engine_on(site.base, *adapters)
        await engine.start()
        for adapter in set(adapters) & set(worse):
            with pytest.raises(EngineUnavailable, match="adapter cannot be loaded now"):
                await said(engine, adapter)
            assert f"the adapter {adapter.name} cannot be loaded" in caplog.text
        good = [a for a in (first, second) if a in adapters]
        assert [await said(engine, a) for a in (None, *good)] == site.merged[: 1 + len(good)]
        await engine.stop()


async def test_a_base_that_does_not_start_is_no_fault_of_its_adapters(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    args = {"cache_type_v": "q8_0", "flash_attn_type": "disabled"}  # which do not go together
    engine = engine_on(site.base, *own(site), **args)
    with pytest.raises(EngineUnavailable, match=r"llama\.cpp cannot load"):
        await engine.start()
    assert "cannot be loaded" not in caplog.text


async def test_what_was_written_for_the_start_is_gone_after_it(engine: LlamacppEngine) -> None:
    assert engine._running is not None
    folder = engine._running.model._folder
    assert folder is not None
    assert not [*folder.path.rglob("*.gguf")]


async def test_a_full_disk_costs_the_adapter_alone(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """/dev/full takes nothing."""
    (tmp_path / "0.gguf").symlink_to("/dev/full")
    first, second = own(site)
    places = {each.name: Path(each.path) for each in (first, second)}
    loaded = LlamacppAdapters([first, second], places, site.base, tmp_path)
    assert loaded.paths == [str(tmp_path / "1.gguf")]
    assert loaded.fields(second) == {"lora": [{"id": 0, "scale": 1.0}]}
    assert loaded.fields(None) == {"lora": [{"id": 0, "scale": 0.0}]}
    with pytest.raises(EngineUnavailable):
        loaded.fields(first)
    assert "No space left on device" in caplog.text
    assert not (tmp_path / "0.gguf").is_symlink()


async def test_one_of_the_hub_is_fetched_before_its_engine_starts(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Adapter(name="owner/name@main", source="owner/name")
    gone = Adapter(name="owner/name@v9", source="owner/name", revision="v9")
    spec = EngineSpec(kind="llamacpp", source=str(site.base), adapters=(gone, good), args=THREADS)
    with running_hub() as hub:
        hub.files = adapter_files(site.folders[1])
        for name, value in hub.environment(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        engine = await EngineBuilder(tmp_path / "data", lambda *_: None)(spec)
    await engine.start()
    assert [await said(engine, a) for a in (good, None)] == [site.merged[2], site.merged[0]]
    with pytest.raises(EngineUnavailable, match="adapter cannot be loaded now"):
        await said(engine, gone)
    await engine.stop()


async def test_prompts_are_kept_in_slots_alone(site: Site) -> None:
    engine = engine_on(site.base, own(site)[0], cache_ram_mib=64)
    with pytest.raises(EngineUnavailable, match=r"args\.cache_ram_mib goes with no adapters"):
        await engine.start()
    plain = engine_on(site.base, cache_ram_mib=64)
    await plain.start()
    await plain.stop()
