"""`fjord weights …` and `fjord prepare` of adapters: the hub's are fetched, kept and removed as
models are."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.weights.manifest import MANIFEST
from tests.support.adapters import adapter_files, adapter_folder
from tests.support.command import Fjord
from tests.support.hub import COMMIT, Hub, running_hub

pytestmark = pytest.mark.slow  # the hub's client runs in processes of its own

REGISTRY = """\
models:
  tiny: {source: echo, engine: scripted, context: 4K, output: 1K, load: start}
  tuned: {adapter: owner/name, base: tiny, load: start}
  again: {adapter: owner/name, base: tiny}
  pinned: {adapter: owner/name, adapter_revision: 0123456789abcdef0123456789abcdef01234567, base: tiny}
  own: {adapter: ./own, base: tiny}
"""  # noqa: E501


@pytest.fixture
def hub(home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (home / "model_registry.yaml").write_text(REGISTRY)
    adapter_folder(home / "own", seed=2)
    monkeypatch.delenv("FJORD_PROFILE")
    with running_hub() as running:
        running.files = adapter_files(adapter_folder(home / "made"))
        for name, value in running.environment(home / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


def folder_in(home: Path) -> Path:
    return home / "data" / "weights" / "owner--name" / COMMIT


def test_an_adapter_is_pulled_listed_compared_mended_and_removed(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    status, said, _ = fjord("weights", "pull", "--all")
    assert (status, said.count("owner/name: ")) == (0, 2)
    assert "apache-2.0" in said
    assert f"{home / 'own'}: not of a hub, nothing to fetch" in said
    names = {"adapter_config.json", "adapter_model.safetensors", MANIFEST}
    assert {path.name for path in folder_in(home).iterdir()} == names
    rows = {row["aliases"][0]: row for row in json.loads(fjord("weights", "list", "--json")[1])}
    assert [rows["tuned"][key] for key in ("state", "commit")] == ["here", COMMIT]
    assert rows["own"]["state"] == "local"
    (folder_in(home) / "adapter_config.json").write_bytes(b"{}")
    status, said, _ = fjord("weights", "verify", "tuned", "own")
    assert status == 2, "what is on this disk is no adapter: the file says so with its line"
    status, said, err = fjord("weights", "remove", "tuned")
    assert "model 'tuned', key 'adapter': 'owner/name'" in err
    assert "names no rank" in err


def test_damage_that_is_still_an_adapter_is_found_and_mended(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    fjord("weights", "pull")
    weights = folder_in(home) / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    status, said, _ = fjord("weights", "verify", "tuned")
    assert (status, "DAMAGED, 1 of 2 files" in said) == (1, True)
    assert fjord("weights", "verify", "--repair", "tuned")[0] == 0
    assert weights.read_bytes() == whole
    said = fjord("weights", "remove", "tuned")[1]
    assert said == "owner/name: kept, since again use them too\n"
    assert fjord("weights", "remove", "tuned", "again")[1].startswith("owner/name: rem")
    assert not folder_in(home).exists()


def test_a_pull_asks_what_its_branch_has_become(home: Path, fjord: Fjord, hub: Hub) -> None:
    fjord("weights", "pull")
    hub.commit = "f" * 40
    assert f"  {folder_in(home).with_name('f' * 40)}\n" in fjord("weights", "pull")[1]
    rows = json.loads(fjord("weights", "list", "--json")[1])
    commits = {alias: row["commit"] for row in rows for alias in row["aliases"]}
    assert (commits["again"], commits["pinned"]) == ("f" * 40, COMMIT)


def test_prepare_fetches_those_of_preloaded_models(home: Path, fjord: Fjord, hub: Hub) -> None:
    status, said, _ = fjord("prepare")
    assert status == 0
    assert f"weights of owner/name: {folder_in(home)}" in said


def test_one_that_goes_with_no_base_is_told_by_the_pull_and_with_its_line_from_then_on(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    shutil.rmtree(home / "made")
    hub.files = adapter_files(adapter_folder(home / "made", rank=8, tensors=64))
    assert fjord("weights", "pull", "tuned")[0] == 0
    status, _, err = fjord("models")
    assert status == 2
    assert "key 'adapter': 'owner/name': its adapter_config.json says rank 8" in err
