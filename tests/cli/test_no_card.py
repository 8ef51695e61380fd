"""Engines built for a GPU, on a machine or in a container that has none: one line, status 2."""

import os
import re
import shutil
from pathlib import Path

import pytest

from engines.host import nvidia
from server.cli import no_card
from tests.support.paths import ROOT
from tests.support.serve_process import fjord

OPEN, CLOSED = "NVIDIA UNIX Open Kernel Module for x86_64", "NVIDIA UNIX x86_64 Kernel Module"
HAS_CARD = shutil.which("nvidia-smi") is not None or nvidia.has_device_files()
without_card = pytest.mark.skipif(HAS_CARD, reason="there is a GPU, or its driver, here")
REGISTRY = """\
models:
  big:
    source: owner/big
    context: 4K
    output: 1K
    preload: true
profiles:
  cuda: {}
  embedded:
    all: {source: "package:not-here", engine: llamacpp}
"""


@pytest.fixture
def cuda_install(tmp_path: Path) -> str:
    """PYTHONPATH of what Dockerfile.cuda installs, as far as a start looks: no llama.cpp."""
    for name in ("torch", "vllm"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").touch()
    (tmp_path / "site/torch/lib").mkdir()
    (tmp_path / "site/torch/lib/libtorch_cuda.so").touch()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import sys\nsys.modules['xllamacpp'] = None\n"  # find_spec raises, and it is missing
    )
    (tmp_path / "model_registry.yaml").write_text(REGISTRY)
    return f"{tmp_path / 'site'}{os.pathsep}{ROOT}"


@pytest.mark.slow
@without_card
@pytest.mark.parametrize("profile", [(), ("--profile", "cuda")], ids=["by-itself", "asked-for"])
def test_a_cuda_install_without_a_card_says_what_is_missing(
    tmp_path: Path, cuda_install: str, profile: tuple[str, ...]
) -> None:
    ended = fjord(tmp_path, "serve", "--port", "0", *profile, PYTHONPATH=cuda_install)
    assert ended.returncode == 2, ended.stderr
    [line] = ended.stderr.splitlines()
    assert re.match(
        r"fjord: big of profile (cuda|embedded) cannot run: vLLM is installed for CUDA, and ", line
    )
    assert f"{nvidia.OLDEST_DRIVER} or newer" in line
    assert len(line) < 300


@pytest.mark.slow
@without_card
def test_weights_are_fetched_without_a_card(tmp_path: Path, cuda_install: str) -> None:
    """`docker run … prepare` needs none; what is wrong here is the hub alone."""
    hub = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ended = fjord(tmp_path, "prepare", "--profile", "cuda", PYTHONPATH=cuda_install, **hub)
    assert "owner/big" in ended.stderr
    assert "CUDA" not in ended.stderr


@without_card
def test_cards_that_are_hidden_are_told_as_such() -> None:
    found = no_card.no_card({"CUDA_VISIBLE_DEVICES": ""})
    assert found is not None
    assert found.words == "CUDA_VISIBLE_DEVICES= hides every GPU"


@pytest.mark.parametrize(
    ("kind", "driver", "words", "remedy"),
    [
        (None, None, "no NVIDIA driver runs", "install NVIDIA's driver, 580 or newer"),
        (None, "580.1", "the NVIDIA driver 580.1 shows no GPU", "dmesg"),
        ("docker", None, "no NVIDIA driver runs", "580 or newer.*Container Toolkit.*--gpus all"),
        ("docker", "580.1", "container was given none", "^it takes .*Toolkit.*--gpus all"),
        ("kubernetes", "580.1", "container was given none", "nvidia.com/gpu"),
        ("kubernetes", None, "no NVIDIA driver runs", "nvidia.com/gpu.*580 or newer"),
        ("apptainer", None, "no NVIDIA driver runs", "580 or newer.*--nv"),
        ("apptainer", "580.1", "container was given none", "^start it with --nv"),
    ],
)
def test_each_place_is_told_its_own_remedy(
    kind: str | None, driver: str | None, words: str, remedy: str
) -> None:
    found = no_card.where(kind, driver)
    assert words in found.words
    assert re.search(remedy, found.remedy), found.remedy


def test_a_container_is_known_by_its_marks(tmp_path: Path) -> None:
    assert no_card.container({}, tmp_path) is None
    (tmp_path / ".dockerenv").touch()
    assert no_card.container({}, tmp_path) == "docker"
    assert no_card.container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == "kubernetes"
    assert no_card.container({"APPTAINER_CONTAINER": "/a.sif"}, tmp_path) == "apptainer"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (f"NVRM version: {OPEN}  580.95.05  Release Build  (dvs-builder@U22)\nGCC", "580.95.05"),
        (f"NVRM version: {CLOSED}  535.183.01  Sun May 12 19:39:15 UTC 2024\n", "535.183.01"),
        ("NVRM version: something else\n", None),
        ("", None),
    ],
)
def test_the_kernel_tells_its_drivers_version(
    tmp_path: Path, text: str, version: str | None
) -> None:
    (tmp_path / "version").write_text(text)
    assert nvidia.driver_version(tmp_path / "version") == version
    assert nvidia.driver_version(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("version", "is_old"), [("579.99", True), ("580", False), ("590.1", False)]
)
def test_both_sides_of_the_oldest_driver(version: str, is_old: bool) -> None:
    assert nvidia.is_too_old(version) == is_old


def test_device_files_are_looked_for(tmp_path: Path) -> None:
    assert not nvidia.has_device_files(tmp_path)
    (tmp_path / "nvidiactl").touch()
    assert nvidia.has_device_files(tmp_path)
