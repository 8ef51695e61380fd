"""A bundle is made, verified and installed: whole, in parts, and as a delta."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from engines.bundle.contents import BundlePiece
from engines.bundle.create import create
from engines.bundle.errors import BundleError
from engines.bundle.install import install, installed_id
from engines.bundle.manifest import BundledFile, BundleManifest, decoded, encoded
from engines.bundle.parts import all_parts
from engines.bundle.read import manifest_of
from engines.bundle.tar import END, header
from tests.support.bundles import ABOUT, FILES, key_pair, made, quiet, tree, vars_of, verify
from tests.support.paths import ROOT


def test_what_was_bundled_is_installed_and_standard_tar_reads_it(tmp_path: Path) -> None:
    found = made(tmp_path / "b.tar")
    done = install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    held = tree(tmp_path / "data" / "bundle")
    assert {name: held[name] for name in FILES} == FILES
    assert done.folder == tmp_path / "data" / "bundles" / found.id[:16]
    assert installed_id(tmp_path / "data") == found.id[:16]
    subprocess.run(["tar", "-xf", "b.tar", "--one-top-level=x"], cwd=tmp_path, check=True)
    assert tree(tmp_path / "x") == held
    with tarfile.open(tmp_path / "b.tar") as tar:
        assert tar.getnames()[:2] == ["manifest.json", "manifest.sig"]


def test_the_same_pieces_make_the_same_bytes(tmp_path: Path) -> None:
    made(tmp_path / "one.tar")
    made(tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_parts_are_one_bundle_in_their_order(tmp_path: Path) -> None:
    found = made(tmp_path / "b.tar", part_bytes=20_000)
    assert [path.name for path in found.files] == [f"b.tar.{n:03}" for n in range(1, 7)]
    assert max(path.stat().st_size for path in found.files) == 20_000
    assert verify(tmp_path / "b.tar.001").id == found.id
    install(all_parts([tmp_path / "b.tar.001"]), tmp_path / "data", None, quiet)
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()
    whole = b"".join(path.read_bytes() for path in found.files)
    (tmp_path / "joined.tar").write_bytes(whole)
    assert verify(tmp_path / "joined.tar").id == found.id
    with pytest.raises(BundleError, match=r"the parts are \.001, \.003"):
        all_parts([tmp_path / "b.tar.001", tmp_path / "b.tar.003"])
    (tmp_path / "b.tar.006").unlink()
    with pytest.raises(BundleError, match="cut"):
        verify(tmp_path / "b.tar.001")


def test_a_delta_has_what_changed_and_needs_its_base(tmp_path: Path) -> None:
    made(tmp_path / "one.tar")
    changed = {**FILES, "model_registry.yaml": b"models: {a: b}\n"}
    base = manifest_of([tmp_path / "one.tar"])
    found = made(tmp_path / "two.tar", changed, base=base)
    assert found.bytes < 10_000
    assert verify(tmp_path / "two.tar").manifest.base == base[0]
    with pytest.raises(BundleError, match=f"install bundle {base[0][:16]} first"):
        install([tmp_path / "two.tar"], tmp_path / "data", None, quiet)
    install([tmp_path / "one.tar"], tmp_path / "data", None, quiet)
    install([tmp_path / "two.tar"], tmp_path / "data", None, quiet)
    assert tree(tmp_path / "data" / "bundle").items() >= changed.items()
    damaged = next((tmp_path / "data" / "bundles" / base[0][:16]).glob("wheels/*"))
    assert damaged.stat().st_nlink > 1  # one copy for both
    damaged.unlink()
    damaged.write_bytes(b"zap")
    again = tmp_path / "elsewhere"
    install([tmp_path / "one.tar"], again, None, quiet)
    next((again / "bundles" / base[0][:16]).glob("wheels/*")).write_bytes(b"zap")
    with pytest.raises(BundleError, match=r"wheels/n+\.whl is in none .* or is damaged there"):
        install([tmp_path / "two.tar"], again, None, quiet)


def test_a_manifest_is_read_as_it_was_written() -> None:
    file = BundledFile(path="a/b", size=3, sha256="0" * 64, is_in_base=True)
    written = BundleManifest(**{**vars_of(ABOUT), "base": "1" * 64, "files": (file,)})
    assert decoded(encoded(written)) == written


def test_a_size_beyond_a_tar_headers_digits_is_written_as_tar_reads_it() -> None:
    size = 9 * 2**30
    info = tarfile.TarFile(fileobj=io.BytesIO(header("w", size) + END)).next()
    assert info is not None
    assert (info.name, info.size) == ("w", size)


def test_weights_that_changed_meanwhile_make_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")
    digest = hashlib.sha256(b"abd").hexdigest()
    with pytest.raises(BundleError, match="w is not what its manifest says"):
        create([BundlePiece("w", tmp_path / "w", digest, 3)], ABOUT, tmp_path / "b.tar", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


@pytest.mark.slow
def test_memory_stays_bounded_whatever_the_size(tmp_path: Path) -> None:
    """128 MB through a process that may have 64."""
    (tmp_path / "w").write_bytes(os.urandom(2**20) * 128)
    create([BundlePiece("w", tmp_path / "w")], ABOUT, tmp_path / "b.tar", quiet)
    code = (
        "import re; from engines.bundle.__main__ import main; "
        "assert main(['install', 'b.tar', '--data-dir', 'd']) == 0; "
        "print(re.findall(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[0])"
    )
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=around, capture_output=True, text=True
    )
    assert int(ended.stdout) < 64_000, ended.stderr


def test_an_installation_needs_python_alone(tmp_path: Path) -> None:
    """-S: no package is there. The signature is checked all the same."""
    private, _ = key_pair(tmp_path)
    key_pair(tmp_path, "other")
    made(tmp_path / "b.tar", private_key=private)
    command = [sys.executable, "-S", "-m", "engines.bundle", "install", "b.tar", "--key"]
    around = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}

    def run(key: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, key], cwd=tmp_path, env=around, capture_output=True, text=True
        )

    refused = run("other.pub")
    assert (refused.returncode, refused.stderr[:34]) == (2, "fjord: the bundle is signed by key")
    done = run("site.pub")
    assert done.returncode == 0, done.stderr
    assert "installed; signed by the given key" in done.stderr
    assert "in use already" in run("site.pub").stderr
