"""What a server cannot listen on, or not so: one line, exit status 2."""

import os
import re
from pathlib import Path

import pytest

from tests.support.certificates import made
from tests.support.command import Fjord

ONE, OTHER = made(), made()


def lay_out(home: Path) -> None:
    """A good pair, and what is none, in a folder."""
    ONE.lie_at(home)
    texts = {
        "other.pem": OTHER.key,
        "locked.pem": made(passphrase=b"open sesame").key,
        "cut.pem": ONE.cert + OTHER.cert[:200],
        "half.pem": ONE.key[:100],
        "rubbish.pem": b"\x00\x01rubbish",
        "empty.pem": b"",
        "large.pem": b"x" * 2**21,
    }
    for name, text in texts.items():
        (home / name).write_bytes(text)
    (home / "folder").mkdir()
    os.mkfifo(home / "fifo")


@pytest.mark.parametrize(
    ("cert", "key", "complaint"),
    [
        ("cert.pem", None, r"--tls-cert needs the certificate's private key: --tls-key"),
        (None, "key.pem", r"--tls-key needs the certificate .*: --tls-cert"),
        ("nowhere.pem", "key.pem", r"--tls-cert nowhere\.pem cannot be read: No such file"),
        ("cert.pem", "nowhere.pem", r"--tls-key nowhere\.pem cannot be read: No such file"),
        ("folder", "key.pem", r"--tls-cert folder is no file"),
        ("cert.pem", "folder", r"--tls-key folder is no file"),
        ("fifo", "key.pem", r"--tls-cert fifo is no file"),
        ("cert.pem", "large.pem", r"--tls-key large\.pem is larger than 1048576 bytes"),
        ("key.pem", "cert.pem", r"--tls-cert key\.pem holds no certificate in PEM"),
        ("rubbish.pem", "key.pem", r"--tls-cert rubbish\.pem holds no certificate in PEM"),
        ("empty.pem", "key.pem", r"--tls-cert empty\.pem holds no certificate in PEM"),
        ("cut.pem", "key.pem", r"--tls-cert cut\.pem .*(holds no|cannot be used)"),
        ("cert.pem", "other.pem", r"--tls-key other\.pem is not the key of --tls-cert cert\.pem"),
        ("cert.pem", "half.pem", r"cannot be used: a whole chain and a private key in PEM"),
        ("cert.pem", "rubbish.pem", r"cannot be used: a whole chain and a private key in PEM"),
        ("cert.pem", "locked.pem", r"--tls-key locked\.pem asks for a passphrase"),
    ],
)
def test_a_bad_certificate_is_one_line(
    home: Path, fjord: Fjord, cert: str | None, key: str | None, complaint: str
) -> None:
    lay_out(home)
    named = {"--tls-cert": cert, "--tls-key": key}
    flags = [part for flag, file in named.items() if file is not None for part in (flag, file)]
    status, _, said = fjord("serve", *flags)
    assert status == 2
    assert re.search(complaint, said), said
    assert len(said.splitlines()) == 1
    assert said.startswith("fjord: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_that_this_user_may_not_read_is_one_line(home: Path, fjord: Fjord) -> None:
    _, key = ONE.lie_at(home)
    key.chmod(0)
    status, _, said = fjord("serve", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    assert (status, said) == (2, "fjord: --tls-key key.pem cannot be read: Permission denied.\n")
