"""`fjord bundle …`: what a person types, from models of a hub of ours to a server that has them."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec
from engines.weights.resolve import resolve
from tests.support.command import Fjord
from tests.support.hub import COMMIT, WEIGHTS, Hub, running_hub

pytestmark = pytest.mark.slow  # the hub's client runs in processes of its own

REGISTRY = """\
currency: NOK
models:
  hubs:
    source: owner/name
    revision: main
    context: 4K
    output: 1K
    price: {{input: "2.50", output: "7.50"}}
  other:
    source: other/model
    context: 4K
    output: 1K
  mine:
    source: {mine}
    engine: llamacpp
    context: 4K
    output: 1K
    preload: true
profiles:
  big: {{}}
  small:
    all: {{output: 512}}
    models:
      other: {{context: 8K}}
"""


@pytest.fixture
def hub(home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (home / "mine.gguf").write_bytes(b"GGUF mine")
    (home / "model_registry.yaml").write_text(REGISTRY.format(mine=home / "mine.gguf"))
    monkeypatch.setenv("FJORD_PROFILE", "small")
    with running_hub() as running:
        for name, value in running.environment(home / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_bundle_serves_what_was_chosen_without_its_hub(
    home: Path, fjord: Fjord, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = fjord("bundle", "create", "--aliases", "hubs,mine", "-o", "b.tar")
    assert (status, "`fjord weights pull hubs`" in err) == (2, True)
    assert fjord("weights", "pull", "hubs")[0] == 0
    assert fjord("bundle", "key", "-o", "site")[0] == 0
    command = ("bundle", "create", "--aliases", "hubs,mine", "--key", "site.key", "-o", "b.tar")
    status, said, err = fjord(*command)
    assert status == 0, err
    assert said.splitlines()[0].startswith("b.tar  ")
    assert said.splitlines()[-1] == "signed"
    hub.refusal = (500, "gone")
    assert fjord("bundle", "verify", "b.tar", "--key", "site.pub")[0] == 0
    status, said, _ = fjord("bundle", "install", "b.tar", "--key", "site.pub", "--data-dir", "new")
    assert status == 0
    assert "fjord serve --offline --registry new/bundle/model_registry.yaml" in said
    registry = load_registry(home / "new" / "bundle" / "model_registry.yaml")
    assert (registry.profile, list(registry.models)) == ("small", ["hubs", "mine"])
    assert registry.models["hubs"].output_tokens == 512
    assert registry.models["hubs"].price.input == 2_500_000
    folder = resolve(registry.models["hubs"].engine, home / "new", lambda *_: None)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    mine = resolve(registry.models["mine"].engine, home / "new", lambda *_: None)
    assert mine.read_bytes() == b"GGUF mine"
    assert mine.is_relative_to((home / "new" / "bundles").resolve())
    monkeypatch.setenv("FJORD_REGISTRY", str(home / "new" / "bundle" / "model_registry.yaml"))
    listed = json.loads(fjord("weights", "list", "--json", "--data-dir", "new")[1])
    assert [(each["state"], each["licence"]) for each in listed] == [
        ("bundle", "apache-2.0"),
        ("local", None),
    ]
    status, said, _ = fjord("weights", "verify", "--all", "--data-dir", "new")
    assert (status, said.splitlines()[0]) == (0, "owner/name: ok, 2 files compared")


def test_a_bundle_has_fjord_its_papers_and_a_bill_of_materials(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    fjord("weights", "pull", "hubs")
    assert fjord("bundle", "create", "--aliases", "hubs", "-o", "b.tar")[0] == 0
    with tarfile.open(home / "b.tar") as tar:
        names = set(tar.getnames())
        tar.extractall(home / "x", filter="data")
    sbom = json.loads((home / "x" / "sbom.cdx.json").read_text())
    own = yaml.safe_load((home / "x" / "model_registry.yaml").read_text())
    for name in ("Makefile", "LICENSE", "docs/registry.md", "server/__main__.py", "README.md"):
        assert f"fjord/{name}" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("fjord/tests")]
    assert sbom["specVersion"] == "1.6"
    (model,) = sbom["components"]
    assert (model["type"], model["version"]) == ("machine-learning-model", COMMIT)
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert list(own["models"]) == ["hubs"]
    assert list(own["profiles"]) == ["small"]
    assert own["profiles"]["small"]["models"] == {}


def test_a_bundle_that_is_not_signed_says_so_wherever_it_is_seen(
    home: Path, fjord: Fjord, hub: Hub
) -> None:
    assert fjord("bundle", "create", "-o", "b.tar")[1].endswith("NOT SIGNED: --key signs it\n")
    assert "NOT SIGNED" in fjord("bundle", "verify", "b.tar")[1]
    fjord("bundle", "key", "-o", "site")
    status, _, err = fjord("bundle", "install", "b.tar", "--key", "site.pub")
    assert (status, "is not signed, and key" in err) == (2, True)
    assert not (home / "data" / "bundle").exists()


def test_a_damaged_bundle_names_the_file_in_one_line(home: Path, fjord: Fjord, hub: Hub) -> None:
    fjord("bundle", "create", "-o", "b.tar", "--split", "1M")
    assert (home / "b.tar.002").exists()
    parts = sorted(home.glob("b.tar.*"))
    for part in parts:
        whole = part.read_bytes()
        if (at := whole.find(b"GGUF mine")) >= 0:
            part.write_bytes(whole[:at] + b"Q" + whole[at + 1 :])
    status, said, err = fjord("bundle", "verify", "b.tar.001")
    assert (status, said) == (2, "")
    assert err.splitlines()[-1].startswith("fjord: sources/0-mine.gguf is damaged: its SHA-256 is")


def test_an_image_is_carried_as_it_was_saved(home: Path, fjord: Fjord, hub: Hub) -> None:
    (home / "oci-layout").write_text("{}")
    with tarfile.open(home / "fjord.tar", "w") as tar:
        tar.add(home / "oci-layout", "oci-layout")
    assert fjord("bundle", "create", "-o", "b.tar", "--image", "fjord.tar")[0] == 0
    assert fjord("bundle", "install", "b.tar", "--data-dir", "new")[0] == 0
    carried = home / "new" / "bundle" / "image" / "fjord.tar"
    assert carried.read_bytes() == (home / "fjord.tar").read_bytes()


def test_a_delta_carries_what_changed(home: Path, fjord: Fjord, hub: Hub) -> None:
    fjord("weights", "pull", "hubs")
    fjord("bundle", "create", "--aliases", "hubs", "-o", "one.tar")
    fjord("bundle", "create", "--aliases", "hubs,mine", "--delta", "one.tar", "-o", "two.tar")
    assert (home / "one.tar").stat().st_size > len(WEIGHTS)
    assert (home / "two.tar").stat().st_size < 400_000
    assert "a delta: bundle" in fjord("bundle", "verify", "two.tar")[1]
    for name in ("one.tar", "two.tar"):
        assert fjord("bundle", "install", name, "--data-dir", "new")[0] == 0
    registry = load_registry(home / "new" / "bundle" / "model_registry.yaml")
    spec: EngineSpec = registry.models["hubs"].engine
    folder = resolve(spec, home / "new", lambda *_: None)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--split", "4"], "right would be a size like 4G"),
        (["--key", "nothing.key"], "nothing.key cannot be read"),
        (["--key", "model_registry.yaml"], "is no private key"),
        (["--delta", "model_registry.yaml"], "this is no bundle"),
        (["--image", "model_registry.yaml"], "cannot be read"),
        (["--aliases", "mein"], "has no model 'mein'"),
        (["--profile", "big", "--aliases", ""], ""),
    ],
)
def test_a_word_that_is_wrong_is_told(fjord: Fjord, hub: Hub, flags: list[str], said: str) -> None:
    status, _, err = fjord("bundle", "create", "-o", "b.tar", *flags)
    assert (status, said in err) == (2 if said else 0, True), err


@pytest.mark.parametrize("command", ["create", "key", "verify", "install"])
def test_the_help_fits_80_columns(fjord: Fjord, command: str) -> None:
    status, said, _ = fjord("bundle", command, "--help")
    assert status == 0
    assert max(map(len, said.splitlines())) <= 80
