"""`fjord doctor` where many things are broken at once, and of what a server listens on."""

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.cli.doctor import hardware, limits, listening, models, place
from server.ledger.serving_lock import ServingLock
from tests.support.broken_machine import BrokenMachine, found, listener, nvidia_smi, why_not
from tests.support.certificates import made

BROKEN = (
    "driver",
    "shared memory",
    "open files",
    "data directory",
    "ledger",
    "port",
    "unix socket",
    "ops port",
    "certificate",
    "clock",
    "site",
    "weights",
    "room",
)
SAID = (
    "535.104.05 is too old for CUDA 13; install NVIDIA's driver 580 or newer",
    "0.0 GiB in /dev/shm; make it 0.5 GiB; in a container --ipc=host or --shm-size",
    "512 at most: as many connections; raise it to 8,192",
    "cannot be written: No space left on device; make room, or name another with --data-dir",
    "it cannot be read: ",
    "restore a copy of `fjord backup`",
    "is in use; choose another with --port",
    "is in use; choose another with --ops-port",
    "the kernel takes 107; choose a shorter path",
    "clients refuse it; renew it",
    "it says 2025-12-01 00:00:00 UTC; set it: bills are dated by it",
    "see --ledger-url, the network and the database's own log",
    "model.safetensors has the SHA-256 ",
    "`fjord weights verify --repair` mends them",
    "never fits: huge; `fjord plan` says what would",
)


@pytest.fixture
def machine() -> Iterator[BrokenMachine]:
    """Its files are not in /dev/shm, where tests' may lie: it has a small one of its own."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tempfile.TemporaryDirectory(dir="/var/tmp")
    with folder as place, listener() as one, listener() as other:
        broken = BrokenMachine(Path(place), one.getsockname()[1], other.getsockname()[1])
        broken.prepare()
        yield broken


@pytest.mark.slow
@pytest.mark.vllm  # of it the shared memory and the cards' libraries are looked at
def test_all_that_is_broken_is_named_with_what_to_do(machine: BrokenMachine) -> None:
    shown = machine.doctor()
    assert shown.returncode == 1, shown.stderr
    lines = shown.stdout.splitlines()
    named = [line[5:20].strip() for line in lines if line.startswith("BAD")]
    assert set(named) - set(BROKEN) <= {"cuda"}  # of a machine with a real driver it is well
    assert [name for name in named if name != "cuda"] == list(BROKEN)
    words = " ".join(shown.stdout.split())
    for said in SAID:
        assert said in words
    assert shown.stdout.endswith(f"\n{len(named)} to mend.\n")
    assert max(map(len, lines)) <= 80
    assert "secret" not in shown.stdout + shown.stderr
    told = json.loads(machine.doctor("--json").stdout)
    bad = [each for each in told["checks"] if each["state"] == "bad"]
    assert [each["name"] for each in bad] == named
    assert told["bad"] == len(named)


class Library:
    """A driver's, as ctypes has it."""

    def __init__(self, failure: int, version: int = 0) -> None:
        self.failure, self.version = failure, version

    def cuInit(self, flags: int) -> int:
        return self.failure

    def cuDriverGetVersion(self, found: Any) -> int:
        found._obj.value = self.version
        return 0


@pytest.mark.parametrize(
    ("library", "state", "words"),
    [
        (Library(0, 13_000), "ok", "13.0; "),
        (Library(0, 12_080), "bad", "12.8: 13.0 is needed"),
        (Library(803), "bad", "error 803 of cuInit; restart the machine after a new driver"),
        (OSError("no such file"), "bad", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
    ],
)
def test_cuda_begins_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Any, state: str, words: str
) -> None:
    def loaded() -> Any:
        if isinstance(library, OSError):
            raise library
        return library

    nvidia_smi(tmp_path, "580.1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(hardware, "_libcuda", loaded)
    told = found(hardware.cuda)["cuda"]
    assert told[0] == state
    assert words in told[1]


@pytest.mark.parametrize(("most", "state"), [(64, "bad"), (512, "note"), (4096, "ok")])
def test_a_container_that_lets_few_processes_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, state: str
) -> None:
    (tmp_path / "unit" / "inner").mkdir(parents=True)
    (tmp_path / "unit" / "pids.max").write_text(f"{most}\n")
    (tmp_path / "unit" / "inner" / "pids.max").write_text("max\n")
    (tmp_path / "cgroup").write_text("0::/unit/inner\n")
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    monkeypatch.setattr(limits, "OWN_CGROUP", tmp_path / "cgroup")
    told = found(limits.processes)["processes"]
    assert told[0] == state
    assert ("TasksMax=" in told[1]) == (state != "ok")


@pytest.mark.parametrize(
    ("days", "state", "words"),
    [
        ((-1, 90), "ok", "for localhost, until 20"),
        ((-1, 5), "note", "it ends soon: for localhost, until 20"),
        ((-9, -1), "bad", "it has ended on 20"),
        ((2, 90), "bad", "it is for after 20"),
    ],
)
def test_a_certificate_is_for_today(
    tmp_path: Path, days: tuple[int, int], state: str, words: str
) -> None:
    cert, key = made(first_day=days[0], last_day=days[1]).lie_at(tmp_path)
    key.chmod(0o600)
    told = found(listening.certificate, tls_cert=cert, tls_key=key)
    assert told["certificate"][0] == state
    assert words in told["certificate"][1]
    assert "private key" not in told


def test_a_key_that_everybody_reads_is_told(tmp_path: Path) -> None:
    cert, key = made().lie_at(tmp_path)
    key.chmod(0o644)
    state, words = found(listening.certificate, tls_cert=cert, tls_key=key)["private key"]
    assert state == "note"
    assert "chmod o-r" in words


def spoilt(path: Path) -> None:
    path.write_text("words")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda cert, key: key.unlink(), "--tls-key KEY cannot be read: No such file"),
        (lambda cert, key: spoilt(cert), "--tls-cert CERT holds no certificate in PEM"),
        (lambda cert, key: key.write_bytes(made().key), "is not the key of the first certificate"),
        (lambda cert, key: key.write_bytes(made(passphrase=b"x").key), "asks for a passphrase"),
    ],
)
def test_a_pair_that_does_not_serve_is_told(
    tmp_path: Path, change: Callable[[Path, Path], Any], words: str
) -> None:
    cert, key = made().lie_at(tmp_path)
    change(cert, key)
    state, said = found(listening.certificate, tls_cert=cert, tls_key=key)["check"]
    assert state == "bad"
    assert words in said.replace(str(cert), "CERT").replace(str(key), "KEY")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tls_cert": "c.pem"}, "needs the certificate's private key"),
        ({"ops_host": "127.0.0.1"}, "give --ops-port, too"),
    ],
)
def test_flags_that_need_another_are_told(settings: dict[str, Any], words: str) -> None:
    state, said = found(listening.certificate, **settings)["check"]
    assert (state, words in said) == ("bad", True)


def dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (lambda path: None, "ok", "is free"),
        (dead, "ok", "is a dead server's; the next start takes its place"),
        (spoilt, "bad", "is there, and is no socket"),
        (lambda path: path.parent.rmdir(), "bad", "there is no folder"),
    ],
)
def test_a_unix_sockets_place_is_looked_at_and_left_as_it_is(
    tmp_path: Path, change: Callable[[Path], Any], state: str, words: str
) -> None:
    path = tmp_path / "run" / "s"
    path.parent.mkdir()
    change(path)
    before = path.exists()
    told = found(listening.unix_socket, uds=path)["unix socket"]
    assert told[0] == state
    assert words in told[1]
    assert path.exists() == before


def test_a_living_servers_socket_is_its_own_or_another_s(tmp_path: Path) -> None:
    path, lock = tmp_path / "s", ServingLock(tmp_path)
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        asked = {"uds": path, "data_dir": tmp_path}
        assert found(listening.unix_socket, **asked)["unix socket"][0] == "bad"
        lock.take()
        try:
            state, words = found(listening.unix_socket, **asked)["unix socket"]
        finally:
            lock.release()
    assert (state, f"a Fjord serves (process {os.getpid()})" in words) == ("ok", True)


def test_the_operators_port_is_another_than_the_port() -> None:
    state, words = found(listening.ops_port, port=8123, ops_port=8123)["ops port"]
    assert (state, "choose another" in words) == ("bad", True)
    assert found(listening.ops_port, port=8123, ops_port=0)["ops port"][0] == "ok"
    assert found(listening.ops_port) == {}


def test_a_place_for_weights_of_its_own_is_looked_at(tmp_path: Path) -> None:
    told = found(place.weights_dir, weights_dir=tmp_path / "not" / "yet")["weights' place"]
    assert told[0] in ("ok", "note")
    assert "GiB free" in told[1]
    assert found(place.weights_dir) == {}


def test_what_engines_may_take_decides_what_fits(tmp_path: Path) -> None:
    asked = {"profile": "embedded", "data_dir": tmp_path}
    assert found(models.registry, **asked)["room"][0] == "ok"
    state, words = found(models.registry, engine_memory_gb=0.01, **asked)["room"]
    assert (state, words.startswith("never fits: ")) == ("bad", True)
