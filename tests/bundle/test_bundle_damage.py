"""What is damaged or cut is found, named and mended by what comes later; what is in use stays."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.bundle.errors import BundleError
from engines.bundle.install import install, installed_id
from tests.support.bundles import FILES, made, quiet, tree, verify
from tests.support.paths import ROOT


@pytest.mark.slow
def test_a_flipped_byte_is_found_wherever_it_is(tmp_path: Path) -> None:
    """Header, manifest, seal, content, zeros between and at the end."""
    path = tmp_path / "b.tar"
    made(path, {"model.bin": bytes(300), "other": b"x" * 700})
    whole = path.read_bytes()
    for at in itertools.chain(range(0, 600, 3), range(600, len(whole), 19), [len(whole) - 1]):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BundleError):
            verify(path)
    path.write_bytes(whole)
    verify(path)


def test_a_flipped_byte_of_a_file_is_told_by_the_files_name(tmp_path: Path) -> None:
    made(tmp_path / "b.tar")
    whole = bytearray((tmp_path / "b.tar").read_bytes())
    whole[whole.index(bytes(range(256))) + 5] ^= 1
    (tmp_path / "b.tar").write_bytes(whole)
    with pytest.raises(BundleError, match=r"weights/owner--name/0+/model\.safetensors is damaged"):
        verify(tmp_path / "b.tar")
    with pytest.raises(BundleError, match=r"model\.safetensors is damaged"):
        install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    assert not (tmp_path / "data" / "bundle").exists()
    assert not list((tmp_path / "data").rglob("*.safetensors"))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_copy_says_so_and_goes_on_when_the_rest_has_come(
    tmp_path: Path, share: float
) -> None:
    made(tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BundleError, match=r"it was cut|this is no bundle"):
        verify(path)
    with pytest.raises(BundleError):
        install([path], tmp_path / "data", None, quiet)
    assert not (tmp_path / "data" / "bundle").exists()
    path.write_bytes(whole)
    assert install([path], tmp_path / "data", None, quiet).is_new
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()
    assert not [each for each in (tmp_path / "data" / "bundles").iterdir() if each.name[0] == "."]


def test_what_came_before_a_cut_is_not_read_again(tmp_path: Path) -> None:
    made(tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    end = whole.index(b"zip")
    (tmp_path / "b.tar").write_bytes(whole[:end])
    with pytest.raises(BundleError, match="cut"):
        install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    at = whole.index(bytes(range(256)))
    spoilt = whole[:at] + bytes(1000) + whole[at + 1000 :]  # would be told if it were read
    (tmp_path / "b.tar").write_bytes(spoilt)
    install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()


def test_the_bundle_in_use_stays_until_another_is_whole(tmp_path: Path) -> None:
    first = made(tmp_path / "one.tar")
    install([tmp_path / "one.tar"], tmp_path / "data", None, quiet)
    made(tmp_path / "two.tar", {**FILES, "new": b"n" * 5000})
    whole = (tmp_path / "two.tar").read_bytes()
    (tmp_path / "two.tar").write_bytes(whole[:-1500])
    with pytest.raises(BundleError):
        install([tmp_path / "two.tar"], tmp_path / "data", None, quiet)
    assert installed_id(tmp_path / "data") == first.id[:16]
    (tmp_path / "two.tar").write_bytes(whole)
    install([tmp_path / "two.tar"], tmp_path / "data", None, quiet)
    assert (tmp_path / "data" / "bundle" / "new").exists()
    assert not install([tmp_path / "one.tar"], tmp_path / "data", None, quiet).is_new
    assert installed_id(tmp_path / "data") == first.id[:16]


def link_to_nothing(at: Path) -> None:
    at.unlink()
    at.symlink_to("/dev/null")


def folder_instead(at: Path) -> None:
    at.unlink()
    (at / "in" / "it").mkdir(parents=True)


SPOIL: dict[str, Callable[[Path], Any]] = {
    "other bytes": lambda at: at.write_bytes(b"models: []\n"),
    "nothing": lambda at: at.unlink(),
    "a link": link_to_nothing,
    "a folder": folder_instead,
}

INSTALL_AND_DIE = """
import os, sys
from pathlib import Path
from engines.bundle.install import install

def die(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "shutil.rmtree"):
        left -= 1
        if left == 0:
            os._exit(9)

home = Path(sys.argv[1])
for step in range(1, 1000):
    left = step
    child = os.fork()
    if not child:
        for name in ("model_registry.yaml", "fjord/.dockerignore"):
            (home / "data/bundle" / name).write_bytes(b"damaged")
        (home / "data/bundle" / sys.argv[2]).unlink(missing_ok=True)
        sys.addaudithook(die)
        install([home / "b.tar"], home / "data", None, lambda *_: None)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    link = home / "data/bundle"
    assert link.is_dir() and (link / "manifest.json").exists(), step
    if status == 0:
        break
print(step)
"""


@pytest.mark.parametrize("how", SPOIL)
def test_what_an_installed_bundle_has_lost_is_put_back(tmp_path: Path, how: str) -> None:
    made(tmp_path / "b.tar")
    install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    SPOIL[how](tmp_path / "data" / "bundle" / "model_registry.yaml")
    assert install([tmp_path / "b.tar"], tmp_path / "data", None, quiet).is_new
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()
    assert not list((tmp_path / "data" / "bundles").glob(".*"))


def test_a_bundle_that_is_mended_is_never_away_whenever_that_is_killed(tmp_path: Path) -> None:
    """At each call that changes a file or a folder."""
    made(tmp_path / "b.tar")
    install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    child = [sys.executable, "-c", INSTALL_AND_DIE, str(tmp_path), next(reversed(FILES))]
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(child, env=around, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert int(shown.stdout) > 20
    install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()


def test_a_damaged_file_of_an_installed_bundle_is_mended_by_installing_again(
    tmp_path: Path,
) -> None:
    made(tmp_path / "b.tar")
    install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    (tmp_path / "data" / "bundle" / "model_registry.yaml").write_bytes(b"models: []\n")
    assert install([tmp_path / "b.tar"], tmp_path / "data", None, quiet).is_new
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()
    assert not install([tmp_path / "b.tar"], tmp_path / "data", None, quiet).is_new
