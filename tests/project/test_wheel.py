"""What `make wheel` builds: all that serving needs, the same bytes from the same files; and it
serves where nothing else of the checkout is."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.serve_process import environment, serving

PACKED = ("LICENSE", "README.md", "engines", "model_registry.yaml", "pyproject.toml", "server")
"""What the wheel is made from."""


def tracked() -> list[str]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PACKED]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and (ROOT / name).exists()]


def built(checkout: Path, mode: int, modified: float) -> Path:
    """From a copy whose files have this mode and time. Returns the wheel."""
    for name in tracked():
        copy = checkout / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
        copy.chmod(mode)
        os.utime(copy, (modified, modified))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=120)
    [wheel] = (checkout / "dist").iterdir()
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("one"), 0o600, 1e9)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put it; what it needs is this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command = [*pip, "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder


def test_the_same_files_make_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    again = built(tmp_path, 0o664, 1.7e9)
    assert (again.name, again.read_bytes()) == (wheel.name, wheel.read_bytes())


def test_it_holds_all_of_both_packages_and_the_registry(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        registry = file.read("server/model_registry.yaml")
    packages = {name for name in tracked() if name.startswith(("server/", "engines/"))}
    assert names == packages | {"server/model_registry.yaml"}
    assert registry == (ROOT / "model_registry.yaml").read_bytes()


def test_what_is_installed_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", "import server; print(server.__file__)"]
    found = subprocess.run(
        command, cwd=tmp_path, env=environment(PYTHONPATH=str(installed)), capture_output=True
    )
    assert Path(found.stdout.decode().strip()).is_relative_to(installed)


@pytest.mark.slow
def test_it_serves_the_embedded_model_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "bin/fjord")]
    with serving(tmp_path, command=command, PYTHONPATH=str(installed)) as server:
        url = server.url()
        server.until("Ready")
        asked = [*command, "run", "--url", url, "mixtral-8x7b", "What is the capital of Norway?"]
        answer = subprocess.run(
            asked,
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(installed)),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()  # which words, is drawn
