"""Adapters of a hub of ours: fetched once for all who ask, refused where they are none.

slow: each fetch runs the hub's client in a process of its own.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.base import Adapter, EngineUnavailable
from engines.registry.spec import AdapterSource
from engines.weights import adapter_files as module
from engines.weights.adapter_files import AdapterFiles, hub_folder
from engines.weights.manifest import MANIFEST
from engines.weights.resolve import fetched
from engines.weights.selection import Selection
from tests.support.adapters import adapter_files, adapter_folder
from tests.support.hub import COMMIT, Hub, running_hub

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LORA = Adapter(name="owner/name@main", source="owner/name")
MODEL, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        own = adapter_files(adapter_folder(tmp_path / "made"))
        running.files = own | {"README.md": b"not needed", "checkpoint-1/" + CONFIG: b"{}"}
        for name, value in running.environment(tmp_path / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def refusal(files: AdapterFiles, adapter: Adapter = LORA) -> str:
    """Why, which its client is not told."""
    with pytest.raises(EngineUnavailable, match="the server's log says why") as refused:
        await files(adapter)
    assert len(str(refused.value.__cause__)) < 400
    return str(refused.value.__cause__)


async def test_many_who_ask_at_once_have_one_fetch(hub: Hub, data: Path) -> None:
    files = AdapterFiles(data)
    folders = set(await asyncio.gather(*(files(LORA) for _ in range(8))))
    assert folders == {data / "weights" / "owner--name" / COMMIT}
    [folder] = folders
    assert {each.name for each in folder.iterdir()} == {MODEL, CONFIG, MANIFEST}
    assert sorted(name for name, _ in hub.served) == [CONFIG, MODEL]
    hub.refusal = (500, "")
    assert await files(LORA) == folder
    assert await AdapterFiles(data)(LORA) == folder, "a whole one needs no hub"
    assert hub_folder(data)("owner/name", None) == folder
    assert hub_folder(data)("owner/name", "v2") is None


async def test_who_leaves_leaves_the_fetch_to_the_others(hub: Hub, data: Path) -> None:
    files = AdapterFiles(data)
    first, second = (asyncio.ensure_future(files(LORA)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).is_dir()
    assert first.cancelled()


async def test_it_keeps_the_commit_that_it_has_while_the_branch_moves(
    hub: Hub, data: Path, tmp_path: Path
) -> None:
    files = AdapterFiles(data)
    before = await files(LORA)
    hub.commit = "f" * 40
    hub.files |= adapter_files(adapter_folder(tmp_path / "other", rank=8))
    source = AdapterSource.of(LORA)
    after = await asyncio.to_thread(fetched, source, data, _quiet, os.environ, asks_hub=True)
    assert after.name == "f" * 40
    assert await files(LORA) == before, "all replicas have the same"
    assert await AdapterFiles(data)(LORA) == after
    shutil.rmtree(before)
    assert await files(LORA) == after


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}"}, "has no adapter_config.json and no adapter_model.safetensors"),
        ({CONFIG: b"{}", "adapter_model.bin": b"x"}, "has no adapter_model.safetensors"),
        ({CONFIG: b" " * (1 << 20) + b"{}", MODEL: b""}, "of over 1,048,576 bytes"),
    ],
    ids=["a model", "pickled", "a huge config"],
)
async def test_a_repository_without_a_lora_is_refused_before_anything_is_fetched(
    hub: Hub, data: Path, files: dict[str, bytes], said: str
) -> None:
    hub.files = files
    assert said in await refusal(AdapterFiles(data))
    assert hub.served == []


async def test_a_link_in_the_repository_is_no_file(hub: Hub, data: Path) -> None:
    hub.lists = [{"type": "symlink", "path": CONFIG, "size": 9, "oid": "0" * 40}]
    del hub.files[CONFIG]
    assert "has no adapter_config.json" in await refusal(AdapterFiles(data))
    assert hub.served == []


async def test_a_revision_that_is_gone(hub: Hub, data: Path) -> None:
    gone = Adapter(name="owner/name@v9", source="owner/name", revision="v9")
    said = "owner/name has no revision 'v9'; right would be main, a tag, a commit"
    assert await refusal(AdapterFiles(data), gone) == said


async def test_a_failure_is_told_again_and_the_hub_not_asked_for_a_while(
    hub: Hub, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files, hub.refusal = AdapterFiles(data), (404, "RepoNotFound")
    told = await refusal(files)
    hub.refusal = None
    assert await refusal(files) == told
    assert caplog.text.count("the adapter owner/name cannot be had") == 1
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    assert (await files(LORA)).is_dir()


async def test_a_full_disk_is_told_before_anything_is_fetched(hub: Hub, data: Path) -> None:
    hub.listed_size = 1 << 20
    hub.files = {CONFIG: b"{}", MODEL: b""}
    hub.lists = [{"type": "file", "path": "LICENSE", "size": 10**18, "oid": "0" * 40}]
    assert "make room, or name a larger disk" in await refusal(AdapterFiles(data))
    assert hub.served == []


async def test_bytes_that_are_not_the_hubs(hub: Hub, data: Path) -> None:
    hub.spoils = {MODEL}
    assert "came with other bytes" in await refusal(AdapterFiles(data))
    assert hub_folder(data)("owner/name", None) is None


async def test_a_silent_hub_is_given_up(
    hub: Hub, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_S", 0.1)
    hub.files["model.safetensors"] = hub.files[MODEL]
    hub.busy_for, began = 10**6, time.monotonic()  # it says "asked again in 1 s" and no more
    files = AdapterFiles(data, stall_timeout_s=0.05)
    assert "got no further for 0.05 s" in await refusal(files)
    assert time.monotonic() - began < 30


async def test_damaged_files_are_refused_where_a_server_verifies(hub: Hub, data: Path) -> None:
    folder = await AdapterFiles(data)(LORA)
    (folder / CONFIG).write_bytes(b"{}")
    assert (await AdapterFiles(data)(LORA)) == folder
    assert "adapter_config.json has 2 bytes" in await refusal(AdapterFiles(data, verifies=True))


async def test_one_that_begins_by_itself_ends_nobody(
    hub: Hub, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files, hub.refusal = AdapterFiles(data), (403, "")
    files.begin(LORA)
    assert "refuses owner/name" in await refusal(files)
    files.begin(Adapter(name="own", path="/nowhere"))
    assert await files(Adapter(name="own", path="/nowhere")) == Path("/nowhere")


def test_a_pickled_adapter_beside_is_not_wanted() -> None:
    names = ["adapter_model.bin", MODEL, CONFIG, "LICENSE", "optimizer.pt", "pytorch_model.bin"]
    wanted = Selection("adapter").wanted(names)
    assert wanted == ["LICENSE", CONFIG, MODEL]
    assert Selection("adapter").wanted(["pytorch_model.bin"]) == []


def _quiet(*_: Any) -> None:
    pass
