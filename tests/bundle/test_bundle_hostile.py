"""A bundle that somebody wrote by hand: paths, manifests and archives that harm are kept out."""

import tarfile
from pathlib import Path
from typing import Any

import pytest

from engines.bundle.errors import BundleError
from engines.bundle.install import install
from engines.bundle.tar import END, header, padding
from tests.support.bundles import archive, entry, manifest_with, member, quiet, verify

HOSTILE_PATHS = [
    "../evil", "/etc/passwd", "a/../../evil", "a//b", "a/./b", "", ".", "..", "a/", "\\evil",
    "C:evil", "-rf", "a\nb", "a\0b", "x" * 401, "manifest.json", "a/..", "a. ", "é\u202e.py",
    None, 7, ["a"],
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_that_leaves_its_folder_is_refused(tmp_path: Path, path: Any) -> None:
    raw = manifest_with([entry(path)])
    named = path if isinstance(path, str) and path and "\0" not in path else "evil"
    rest = header(named, 1) + b"x" + bytes(padding(1)) + END
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        install([archive(tmp_path, raw, rest=rest)], tmp_path / "data", None, quiet)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([entry("a"), entry("a")], "'a' stands in it twice"),
        ([entry("a"), entry("A")], "'A' stands in it twice"),
        ([entry("a"), entry("a/b")], "'a' is a file and a folder"),
        ([entry("a", size=-1)], "no possible size"),
        ([entry("a", size=2**70)], "no possible size"),
        ([entry("a", size=1.5)], "no possible size"),
        ([entry("a", size=True)], "no possible size"),
        ([entry("a", sha256="0" * 63)], "is no SHA-256"),
        ([entry("a", is_in_base="no")], "no possible size"),
        ([{"path": "a"}], "damaged"),
        ("files", "damaged"),
        ([entry("f")] * 200_001, "200,001 files; at most 200,000"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(tmp_path: Path, files: Any, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        verify(archive(tmp_path, manifest_with(files)))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"[]", "its format is not fjord-bundle"),
        (b'{"format": "fjord-bundle", "version": 9}', "has version 9, and this Fjord reads 1"),
        (b"[" * 100_000, "damaged"),
        (b"\xff\xfe", "damaged"),
        (manifest_with(aliases=["x" * 501]), "no short text"),
        (manifest_with(profile="a\nb"), "no short text"),
    ],
)
def test_a_manifest_of_another_kind_is_told(tmp_path: Path, raw: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        verify(archive(tmp_path, raw))


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (member("a", tarfile.SYMTYPE, link="/etc/passwd") + END, "stands a link 'a'"),
        (member("a", tarfile.LNKTYPE, link="b") + END, "stands a link 'a'"),
        (member("a", tarfile.DIRTYPE) + END, "stands a folder 'a/'"),
        (member("b", size=1) + b"x" + bytes(511) + END, "stands a file 'b'"),
        (member("a", size=2) + b"xx" + bytes(510) + END, "manifest says a with 1 bytes"),
        (member("a", size=2**40) + END, "manifest says a with 1 bytes"),
        (member("x" * 5000, size=1) + END, "stands a long name"),
        (member("a", tarfile.XHDTYPE, size=2**33) + END, "an extended header"),
        (bytes(1024), "no header"),
        (b"\xff" * 1024, "no header"),
        (header("a", 1) + b"x" + bytes(511) + header("a", 1) + bytes(1024), "other bytes than"),
        (header("a", 1) + b"x" + b"!" * 511 + END, "after a stand other bytes than zeros"),
        (header("a", 1) + b"x" + bytes(511) + END + b"more", "4 bytes stand behind the end"),
        (header("a", 1) + b"x" + bytes(511) + END[:700], "cut"),
        (header("a", 1) + b"y" + bytes(511) + END, "a is damaged: its SHA-256"),
    ],
)
def test_an_archive_that_is_not_as_the_manifest_says_is_refused(
    tmp_path: Path, rest: bytes, said: str
) -> None:
    path = archive(tmp_path, manifest_with([entry("a")]), rest=rest)
    with pytest.raises(BundleError, match=said):
        verify(path)
    with pytest.raises(BundleError, match=said):
        install([path], tmp_path / "data", None, quiet)
    assert not (tmp_path / "data" / "bundle").exists()


def test_a_huge_manifest_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tar"
    with path.open("wb") as file:
        file.write(header("manifest.json", 2**33 - 1))
        file.truncate(2**33)
    with pytest.raises(BundleError, match=r"manifest\.json has 8,589,934,591 bytes; at most"):
        verify(path)


def test_what_is_no_bundle_is_told_so(tmp_path: Path) -> None:
    for content in (b"", b"hello", bytes(5000), member("x", size=3) + b"abc" + bytes(509) + END):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(BundleError, match=r"this is no bundle: .* where manifest\.json should"):
            verify(tmp_path / "x.tar")


def test_a_bundle_that_has_no_room_is_refused_before_it_is_read(tmp_path: Path) -> None:
    raw = manifest_with([entry("a", size=2**59)])
    with pytest.raises(BundleError, match=r"needs 576460752\.3 GB more and .* free"):
        install([archive(tmp_path, raw, rest=b"")], tmp_path / "data", None, quiet)
