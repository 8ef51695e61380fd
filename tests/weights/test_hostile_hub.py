"""A hub that lies, sends elsewhere, sends too much or asks for patience."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError

from engines.base import EngineUnavailable
from engines.host.child_job import ChildJobFailed
from engines.registry.spec import EngineSpec
from engines.weights import listed
from engines.weights.listed import bounded, check_files, checked_commit
from engines.weights.patience import patiently
from engines.weights.resolve import resolve
from tests.support.command import fjord_here
from tests.support.hub import WEIGHTS, Hub, running_hub

MODEL = EngineSpec(kind="vllm", source="owner/name", revision="main")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def quiet(what: str, done: int | None, total: int | None) -> None:
    pass


def entry(name: str, size: Any = 2) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": size, "oid": "0" * 40}


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["../../../outside.json", "/tmp/outside.json", "a/../../../../outside.json"]
)
def test_a_name_that_leaves_its_folder_is_refused_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    hub.lists = [entry(name)]
    with pytest.raises(EngineUnavailable, match=r"outside.json', which is no possible file's name"):
        resolve(MODEL, tmp_path / "in" / "it", quiet, hub.environment(tmp_path / "hf"))
    assert hub.served == []
    assert {name for name in everything(tmp_path) if "outside" in name} == set()


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../a.json",
        "/a.json",
        "a//b.json",
        "a/./b.json",
        "a\\..\\b.json",
        "a\nb.json",
        "a\0.json",
        "",
        "x" * 256 + ".json",
        "fjord-manifest.json",
        "Fjord-Manifest.json",
        ".parts/a.json",
        None,
    ],
)
def test_no_such_name_is_taken(name: Any) -> None:
    with pytest.raises(ChildJobFailed, match="no possible file's name") as refused:
        check_files([("config.json", 1), (name, 1)])
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("size", [-1, 2**63, 1.5, "7", None, True])
def test_no_such_size_is_taken(size: Any) -> None:
    with pytest.raises(ChildJobFailed, match="with the size"):
        check_files([("config.json", size)])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("config.json", "Config.json"), "one file"),
        (("a/b.json", "A/B.json"), "one file"),
        (("a.json", "a.json/b.json"), "as a file and as a folder"),
    ],
)
def test_two_files_of_one_place_are_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(ChildJobFailed, match=words):
        check_files([(name, 1) for name in names])


def test_names_of_real_repositories_are_taken() -> None:
    real = ("config.json", "1_Pooling/config.json", "tokenizer.json", "a (1).json", "модель.json")
    check_files([(name, 0) for name in real])


@pytest.mark.parametrize("commit", ["../../..", "main", "", None, "0" * 41])
def test_what_is_no_commit_names_no_folder(commit: Any) -> None:
    with pytest.raises(ChildJobFailed, match="as a commit of owner/name"):
        checked_commit(commit, "owner/name")


def test_a_list_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "MOST_FILES", 100)
    endless = iter(int, 1)
    with pytest.raises(ChildJobFailed, match="more than 100 files"):
        bounded(endless, "owner/name")
    assert bounded(iter(range(100)), "owner/name") == list(range(100))


@pytest.mark.slow
def test_a_file_that_is_longer_than_listed_fills_no_disk(hub: Hub, tmp_path: Path) -> None:
    hub.sends = {"config.json": bytes(40_000_000)}
    with pytest.raises(EngineUnavailable, match=r"config.json came with more than the 23 bytes"):
        resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path / "hf"))
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(sizes) <= len(WEIGHTS) + 10_000


@pytest.mark.slow
def test_a_file_that_is_shorter_than_listed_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.sends = {"model.safetensors": WEIGHTS[:1000]}
    with pytest.raises(EngineUnavailable, match=r"model.safetensors came with 1,000 bytes of") as e:
        resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path / "hf"))
    assert "force_download" not in str(e.value)
    hub.sends = {}
    folder = resolve(MODEL, tmp_path, quiet, hub.environment(tmp_path / "hf"))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.slow
def test_a_token_goes_to_the_hub_alone_and_not_where_it_sends_us(hub: Hub, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    around = {**hub.environment(tmp_path / "hf"), "HF_TOKEN": "hf_secret"}
    with running_hub() as other:
        hub.elsewhere = other.address
        folder = resolve(MODEL, tmp_path, quiet, around)
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS
        assert hub.tokens
        assert set(hub.tokens) == {"Bearer hf_secret"}
        assert other.tokens
        assert set(other.tokens) == {None}


@pytest.mark.slow
@pytest.mark.parametrize("busy_at", ["/api/", "/owner/name/resolve/"])
def test_a_busy_hub_is_asked_again_when_it_says(hub: Hub, tmp_path: Path, busy_at: str) -> None:
    steps: list[str] = []

    def progress(what: str, done: int | None, total: int | None) -> None:
        steps.append(what)

    hub.busy_for, hub.busy_at = 2, busy_at
    folder = resolve(MODEL, tmp_path, progress, hub.environment(tmp_path / "hf"))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.busy_for == 0
    is_told = "waiting: the hub is busy, and is asked again in 1 s" in steps
    assert is_told == (busy_at == "/api/")  # of files the library sees to it itself


REGISTRY = """\
models:
  hubs: {source: owner/name, engine: vllm, context: 4K, output: 1K, preload: true}
profiles:
  embedded: {}
"""


@pytest.mark.slow
def test_a_pull_says_what_is_wrong_in_one_line_and_waits_for_a_busy_hub(
    hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "model_registry.yaml").write_text(REGISTRY)
    around = {k: v for k, v in hub.environment(tmp_path / "hf").items() if k.startswith("HF_")}
    hub.lists = [entry("../../../outside.json")]
    refused = fjord_here(tmp_path, "weights", "pull", **around)
    assert refused.returncode == 2
    last = refused.stderr.splitlines()[-1]
    said = "fjord: the hub lists '../../../outside.json', which is no possible file's name"
    assert last.startswith(said)
    hub.lists, hub.busy_for = [], 1
    assert fjord_here(tmp_path, "weights", "pull", **around).returncode == 0
    assert hub.busy_for == 0


class Answer:
    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status_code, self.headers = status, headers
        self.request = None


def asked(status: int, **headers: str) -> tuple[int, int]:
    """How often a hub that only says this is asked, and how long is waited in all, in seconds."""
    tries, waits = 0, 0

    def ask() -> None:
        nonlocal tries
        tries += 1
        raise HfHubHTTPError("no", response=Answer(status, headers))  # type: ignore[arg-type]

    def sleep(seconds: float) -> None:
        nonlocal waits
        waits += int(seconds)

    with pytest.raises(HfHubHTTPError):
        patiently(ask, quiet, sleep)
    return tries, waits


def test_patience_has_an_end_and_a_bound() -> None:
    assert asked(429, **{"Retry-After": "7"}) == (6, 35)
    assert asked(503, **{"Retry-After": "999999999999"}) == (6, 300)
    assert asked(429, **{"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == (6, 62)
    assert asked(504) == (6, 62)
    assert asked(404) == (1, 0)
