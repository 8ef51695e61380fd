"""What a server cannot listen on, or not so: one line, exit status 2."""

import contextlib
import os
import re
import socket
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
        "upside_down.pem": OTHER.cert + ONE.cert,
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
        (
            "cert.pem",
            "other.pem",
            r"--tls-key other\.pem is not the key of the first certificate in",
        ),
        ("upside_down.pem", "key.pem", r"--tls-key key\.pem is not the key of the first certif"),
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


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--uds", "file"], r"--uds file is there already, and is no socket"),
        (["--uds", "folder"], r"--uds folder is there already, and is no socket"),
        (["--uds", "link"], r"--uds link is there already, and is no socket"),
        (["--uds", "living"], r"--uds living is another server's, which runs"),
        (["--uds", "full"], r"--uds full is another server's, which runs"),
        (["--uds", "nowhere/s"], r"--uds nowhere/s cannot be listened on: No such file"),
        (["--uds", "file/s"], r"--uds file/s cannot be listened on: Not a directory"),
        (["--uds", "x" * 120], r"cannot be listened on: AF_UNIX path too long"),
        (["--uds", "s", "--uds-mode", "888"], r"--uds-mode '888' is wrong"),
        (["--uds", "s", "--uds-mode", "rw"], r"--uds-mode 'rw' is wrong"),
        (["--uds", "s", "--port", "0", "--host", "0.0.0.0", "--no-auth"], r"loopback only"),
    ],
)
def test_a_socket_that_cannot_be_ours_is_one_line(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch, flags: list[str], complaint: str
) -> None:
    monkeypatch.delenv("FJORD_PORT")
    (home / "file").write_text("kept")
    (home / "folder").mkdir()
    (home / "link").symlink_to("dead")
    with contextlib.ExitStack() as stack:
        for name, backlog in (("living", 5), ("full", 0), ("dead", 0)):
            bound = stack.enter_context(socket.socket(socket.AF_UNIX))
            bound.bind(name)
            bound.listen(backlog)
            if name == "dead":
                bound.close()
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect("full")
        status, _, said = fjord("serve", *flags)
    assert status == 2
    assert re.search(complaint, said), said
    assert len(said.splitlines()) == 1
    assert (home / "file").read_text() == "kept"
    assert (home / "living").is_socket()
    assert not (home / "s").exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--ops-host", "0.0.0.0"], r"--ops-host is the address of a port: give --ops-port"),
        (["--ops-port", "99999"], r"--ops-port 99999 is wrong: the most is 65535"),
        (["--ops-port", "0", "--ops-host", "192.0.2.1"], r"--ops-host 192\.0\.2\.1 is no address"),
        (
            ["--ops-port", "0", "--ops-host", "0.0.0.0", "--no-auth"],
            r"--no-auth .* loopback only\. Leave it out, or use --ops-host 127\.0\.0\.1",
        ),
        (["--ops-port", "TAKEN"], r"Port \d+ on 127\.0\.0\.1 is in use; .* with --ops-port"),
        (["--port", "TAKEN"], r"Port \d+ on 127\.0\.0\.1 is in use; .* with --port"),
    ],
)
def test_an_operators_port_that_cannot_be_is_one_line(
    fjord: Fjord, flags: list[str], complaint: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, said = fjord("serve", *(port if flag == "TAKEN" else flag for flag in flags))
    assert status == 2
    assert re.search(complaint, said), said
    assert len(said.splitlines()) == 1


def test_tls_without_a_port_is_one_line(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FJORD_PORT")
    ONE.lie_at(home)
    flags = ("--tls-cert", "cert.pem", "--tls-key", "key.pem", "--uds", "s")
    status, _, said = fjord("serve", *flags)
    assert (status, said) == (
        2,
        "fjord: --tls-cert is for a port, and --uds alone has none: give --port, too.\n",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_that_this_user_may_not_read_is_one_line(home: Path, fjord: Fjord) -> None:
    _, key = ONE.lie_at(home)
    key.chmod(0)
    status, _, said = fjord("serve", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
    assert (status, said) == (2, "fjord: --tls-key key.pem cannot be read: Permission denied.\n")
