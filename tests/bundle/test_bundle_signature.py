"""A signature says whose bundle it is, as OpenSSL and the standard's own examples have it."""

import base64
import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from engines.bundle.ed25519 import is_signed
from engines.bundle.errors import BundleError
from engines.bundle.install import install
from engines.bundle.seal import seal
from tests.support.bundles import archive, key_pair, made, manifest_with, quiet, verify


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
