"""A bundle carries adapters with what they are laid over, and a site serves them offline."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from engines.registry.registry import load_registry
from engines.weights.adapter_files import hub_folder
from tests.support.adapters import adapter_files, adapter_folder
from tests.support.command import Fjord
from tests.support.hub import COMMIT, FILES, Hub, running_hub
from tests.support.serve_process import ask, serving

pytestmark = pytest.mark.slow  # processes of their own

REGISTRY = """\
models:
  other: {source: two, engine: scripted, context: 4K, output: 1K}
  tiny: {source: echo, engine: scripted, context: 4K, output: 1K, load: start}
  large:
    source: owner/name
    args: {enable_lora: true, max_loras: 2}
    context: 4K
    output: 1K
  tuned: {adapter: owner/name, base: tiny}
  older: {adapter: ./older/last, base: tiny}
  newer: {adapter: ./newer/last, base: tiny}
  heavy: {adapter: owner/name, adapter_revision: main, base: large}
  mine: {source: ./mine.gguf, engine: llamacpp, context: 4K, output: 1K}
  laid: {adapter: ./laid.gguf, base: mine}
  folded: {adapter: ./older/last, base: mine}
profiles:
  p:
    models:
      older: {output: 512}
"""


@pytest.fixture
def hub(home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (home / "model_registry.yaml").write_text(REGISTRY)
    for seed, name in enumerate(("older", "newer"), 2):
        adapter_folder(home / name / "last", seed=seed)
    for name in ("mine.gguf", "laid.gguf"):
        (home / name).write_bytes(b"GGUF of " + name.encode())
    monkeypatch.setenv("FJORD_PROFILE", "p")
    with running_hub() as running:
        running.files = FILES | adapter_files(adapter_folder(home / "made"))
        for name, value in running.environment(home / "hf").items():
            monkeypatch.setenv(name, value)
        yield running


def installed(home: Path, fjord: Fjord, aliases: str) -> Path:
    """The site's registry. What was carried is nowhere else any more."""
    status, _, err = fjord("bundle", "create", "--aliases", aliases, "-o", "b.tar")
    assert status == 0, err
    site = home / "site"
    site.mkdir()
    assert fjord("bundle", "install", "b.tar", "--data-dir", str(site / "data"))[0] == 0
    for name in ("older", "newer", "data"):
        shutil.rmtree(home / name, ignore_errors=True)
    return site / "data" / "bundle" / "model_registry.yaml"


def test_an_adapter_brings_its_base(home: Path, fjord: Fjord, hub: Hub) -> None:
    status, _, err = fjord("bundle", "create", "--aliases", "heavy", "-o", "b.tar")
    assert (status, "weights of owner/name are not here: `fjord weights pull large`" in err) == (
        2,
        True,
    )
    assert fjord("weights", "pull", "heavy")[0] == 0
    registry = installed(home, fjord, "heavy")
    loaded = load_registry(registry, "p", hub_folder(registry.parents[1])).models
    assert list(loaded) == ["large", "heavy"]
    assert loaded["heavy"].adapter is not None
    assert loaded["heavy"].adapter.commit == COMMIT
    assert loaded["heavy"].engine == loaded["large"].engine
    store = registry.parent / "weights" / "owner--name" / COMMIT
    assert {path.suffix for path in store.iterdir()} == {".json", ".safetensors"}


def test_what_cannot_be_an_adapter_is_not_carried(home: Path, fjord: Fjord, hub: Hub) -> None:
    (home / "older" / "last" / "adapter_model.safetensors").unlink()
    status, _, err = fjord("bundle", "create", "--aliases", "older", "-o", "b.tar")
    assert (status, "model 'older', key 'adapter': './older/last' holds no" in err) == (2, True)


def test_llama_cpp_s_are_carried_as_files_and_folders(home: Path, fjord: Fjord, hub: Hub) -> None:
    registry = installed(home, fjord, "laid,folded")
    models = load_registry(registry, "p").models
    assert list(models) == ["mine", "laid", "folded"]
    engine = models["mine"].engine
    assert [Path(each.path).name for each in engine.adapters] == ["1-laid.gguf", "2-last"]
    assert Path(engine.adapters[0].path).read_bytes() == b"GGUF of laid.gguf"
    assert all(
        Path(each.path).is_relative_to(registry.resolve().parent) for each in engine.adapters
    )


def test_a_site_serves_adapters_offline(home: Path, fjord: Fjord, hub: Hub) -> None:
    fjord("weights", "pull", "tuned")
    registry = installed(home, fjord, "tuned,older,newer")
    with tarfile.open(home / "b.tar") as tar:
        sbom = tar.extractfile("sbom.cdx.json")
        assert sbom is not None
        named = [each["name"] for each in json.load(sbom)["components"]]
    assert sorted(named) == ["last", "last", "owner/name"]
    own = yaml.safe_load(registry.read_text())
    assert list(own["models"]) == ["tiny", "tuned", "older", "newer"]
    assert own["models"]["newer"]["adapter"].endswith("-last")
    hub.refusal, hub.served = (500, "gone"), []
    flags = ("--offline", "--verify", "--registry", str(registry))
    with serving(registry.parents[2], *flags, FJORD_PROFILE="p") as server:
        server.until("Ready")
        answers = {}
        for alias in own["models"]:
            answer = ask(f"http://127.0.0.1:{server.port}", server.key(), model=alias)
            assert answer.status_code == 200, answer.text
            answers[alias] = answer.json()["choices"][0]["message"]["content"]
    assert answers["tiny"] == "hei du"
    assert answers["tuned"] == f"owner/name@{COMMIT[:12]}: hei du"
    assert len(set(answers.values())) == 4
    assert hub.served == []
