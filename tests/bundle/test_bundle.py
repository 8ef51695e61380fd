"""A bundle is made, verified and installed; what is wrong with one is found, named and kept out."""

import base64
import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from engines.bundle.contents import BundlePiece
from engines.bundle.create import About, Created, create
from engines.bundle.ed25519 import is_signed
from engines.bundle.errors import BundleError
from engines.bundle.install import install, installed_id
from engines.bundle.manifest import BundledFile, BundleManifest, decoded, encoded
from engines.bundle.parts import PartsReader, all_parts
from engines.bundle.read import Opened, manifest_of, verified
from engines.bundle.seal import new_key, public_key, seal
from engines.bundle.tar import END, header, padding
from tests.support.paths import ROOT

ABOUT = About(created="2026-11-27T00:00:00+00:00", fjord="0", profile="p", aliases=("a",))
FILES = {
    "model_registry.yaml": b"models: {}\n",
    "weights/owner--name/" + "0" * 40 + "/model.safetensors": bytes(range(256)) * 400,
    "wheels/" + "n" * 120 + ".whl": b"zip",
    "fjord/.dockerignore": b"",
}


def quiet(what: str, done: int | None, total: int | None) -> None:
    pass


def made(path: Path, files: dict[str, bytes] | None = None, **how: Any) -> Created:
    pieces = [BundlePiece(name, content) for name, content in (files or FILES).items()]
    return create(pieces, ABOUT, path, quiet, **how)


def verify(path: Path, key: bytes | None = None) -> Opened:
    with PartsReader(all_parts([path])) as reader:
        return verified(reader, key, quiet)


def key_pair(folder: Path, name: str = "site") -> tuple[Path, bytes]:
    new_key(folder / f"{name}.key", folder / f"{name}.pub")
    return folder / f"{name}.key", public_key(folder / f"{name}.pub")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


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


def test_a_damaged_file_of_an_installed_bundle_is_mended_by_installing_again(
    tmp_path: Path,
) -> None:
    made(tmp_path / "b.tar")
    install([tmp_path / "b.tar"], tmp_path / "data", None, quiet)
    (tmp_path / "data" / "bundle" / "model_registry.yaml").write_bytes(b"models: []\n")
    assert install([tmp_path / "b.tar"], tmp_path / "data", None, quiet).is_new
    assert tree(tmp_path / "data" / "bundle").items() >= FILES.items()
    assert not install([tmp_path / "b.tar"], tmp_path / "data", None, quiet).is_new


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


def test_a_signature_says_whose_bundle_it_is(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    _, other = key_pair(tmp_path, "other")
    made(tmp_path / "signed.tar", private_key=private)
    assert verify(tmp_path / "signed.tar", public).seal.is_trusted
    assert "was not checked" in verify(tmp_path / "signed.tar").seal.in_words()
    with pytest.raises(BundleError, match=r"is signed by key .* is demanded"):
        verify(tmp_path / "signed.tar", other)
    made(tmp_path / "unsigned.tar")
    assert "NOT SIGNED" in verify(tmp_path / "unsigned.tar").seal.in_words()
    with pytest.raises(BundleError, match=r"is not signed, and key .* is demanded"):
        install([tmp_path / "unsigned.tar"], tmp_path / "data", public, quiet)
    assert not (tmp_path / "data").exists()
    assert private.stat().st_mode & 0o077 == 0


def test_openssl_finds_the_signature_right(tmp_path: Path) -> None:
    private, _ = key_pair(tmp_path)
    raw = b"the manifest"
    signature = json.loads(seal(raw, private))["signature"]
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "sig").write_bytes(base64.b64decode(signature))
    asked = ["-verify", "-pubin", "-inkey", "site.pub", "-rawin", "-in", "raw", "-sigfile", "sig"]
    command = ["openssl", "pkeyutl", *asked]
    try:
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("openssl is not here")
    assert "Verified Successfully" in ended.stdout, ended.stderr


def test_a_changed_manifest_is_found_though_its_hash_was_changed_too(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    raw = manifest_with()
    changed = raw.replace(b'"profile": "p"', b'"profile": "q"')
    sealed = json.loads(seal(raw, private))
    sealed["sha256"] = hashlib.sha256(changed).hexdigest()
    path = archive(tmp_path, changed, json.dumps(sealed, indent=1).encode() + b"\n")
    for key in (None, public):
        with pytest.raises(BundleError, match=r"signature in manifest\.sig is wrong"):
            verify(path, key)


def manifest_with(files: list[dict[str, Any]] | None = None, **others: Any) -> bytes:
    written = json.loads(encoded(BundleManifest(**{**vars_of(ABOUT), "base": None, "files": ()})))
    return json.dumps({**written, "files": files or [], **others}).encode()


def vars_of(about: About) -> dict[str, Any]:
    return {name: getattr(about, name) for name in About.__slots__}


def archive(folder: Path, raw: bytes, sealed: bytes | None = None, rest: bytes = END) -> Path:
    """A file that is a bundle's as far as the manifest; `rest` is what stands behind its seal."""
    sealed = seal(raw, None) if sealed is None else sealed
    path = folder / "hostile.tar"
    blocks = [("manifest.json", raw), ("manifest.sig", sealed)]
    head = [header(n, len(c)) + c + bytes(padding(len(c))) for n, c in blocks]
    path.write_bytes(b"".join(head) + rest)
    return path


def entry(path: Any, content: bytes = b"x", **others: Any) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path, "size": len(content), "sha256": digest, **others}


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


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, size, link, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


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


def test_a_size_beyond_a_tar_headers_digits_is_written_as_tar_reads_it() -> None:
    size = 9 * 2**30
    info = tarfile.TarFile(fileobj=io.BytesIO(header("w", size) + END)).next()
    assert info is not None
    assert (info.name, info.size) == ("w", size)


def test_a_bundle_that_has_no_room_is_refused_before_it_is_read(tmp_path: Path) -> None:
    raw = manifest_with([entry("a", size=2**59)])
    with pytest.raises(BundleError, match=r"needs 576460752\.3 GB more and .* free"):
        install([archive(tmp_path, raw, rest=b"")], tmp_path / "data", None, quiet)


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


@pytest.mark.slow
def test_plain_python_checks_signatures_as_the_library_does() -> None:
    """20 of the library's, each also changed by a bit."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for number in range(20):
        key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public, message = key.public_key().public_bytes_raw(), bytes(number)
        signature = key.sign(message)
        assert is_signed(public, signature, message)
        assert not is_signed(public, signature, message + b"x")
        for at in (0, 31, 32, 63):
            wrong = bytearray(signature)
            wrong[at] ^= 1
            assert not is_signed(public, bytes(wrong), message)
    assert not is_signed(public, signature[:63], message)
    assert not is_signed(b"\xff" * 32, signature, message)
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not is_signed(public, signature[:32] + scalar.to_bytes(32, "little"), message)


RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_standards_own_examples_are_right(public: str, message: str, signature: str) -> None:
    assert is_signed(*map(bytes.fromhex, (public, signature, message)))


def test_a_manifest_is_read_as_it_was_written() -> None:
    file = BundledFile(path="a/b", size=3, sha256="0" * 64, is_in_base=True)
    written = BundleManifest(**{**vars_of(ABOUT), "base": "1" * 64, "files": (file,)})
    assert decoded(encoded(written)) == written
