"""`fjord doctor` on a machine that is well, and on machines with things broken."""

import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server.cli.doctor import hardware, listening, models, place, surroundings
from server.cli.doctor.diagnosis import Diagnosis, diagnoses
from server.ledger.serving_lock import ServingLock
from server.ledger.sqlite import prepared_ledger
from server.settings import Settings
from tests.support.broken_machine import flip_a_bit, found, kept_weights, nvidia_smi
from tests.support.command import fjord_here
from tests.support.serve_process import with_registry

OWN = """\
models:
  own:
    source: {}
    engine: vllm
    context: 4K
    output: 1K
    preload: true
profiles:
  embedded: {{}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_registry(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_on_a_machine_that_is_well_nothing_stands_in_the_way(home: Path) -> None:
    shown = fjord_here(home, "doctor", "--port", "0")
    assert shown.returncode == 0, shown.stdout
    assert shown.stdout.endswith("\nNothing stands in the way.\n")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert not (home / "data").exists()  # looked at, not made


def test_for_programs_it_is_one_document(home: Path, taken: int) -> None:
    shown = fjord_here(home, "doctor", "--json", "--port", str(taken))
    assert shown.returncode == 1
    told = json.loads(shown.stdout)
    assert told["bad"] == 1
    [broken] = [each for each in told["checks"] if each["state"] == "bad"]
    assert broken["name"] == "port"


@pytest.mark.parametrize(
    ("driver", "state"), [("580.65.06", "ok"), ("600.1", "ok"), ("570.9", "bad"), ("N/A", "note")]
)
def test_a_driver_is_held_to_what_the_engine_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, state: str
) -> None:
    nvidia_smi(tmp_path, driver)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = found(hardware.cards)
    assert told["cards"] == ("ok", "H100 80 GB; ")
    assert told["driver"][0] == state


def test_a_driver_without_a_card_says_what_a_container_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(tmp_path, "580.1", cards=0)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    state, words = found(hardware.cards)["cards"]
    assert state == "bad"
    assert "--gpus all" in words


class Room:
    def __init__(self, total: int, free: int) -> None:
        self.total, self.free = total, free


@pytest.mark.parametrize(("bytes_", "state"), [(64 * 2**20, "bad"), (2**30, "ok")])
def test_a_containers_shared_memory_is_too_little(
    monkeypatch: pytest.MonkeyPatch, bytes_: int, state: str
) -> None:
    monkeypatch.setattr(hardware, "missing_library", lambda _: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Room(bytes_, bytes_))
    told = found(hardware.shared_memory)["shared memory"]
    assert told[0] == state
    assert ("--ipc=host" in told[1]) == (state == "bad")


@pytest.mark.parametrize(
    ("free", "state"), [(2**29, "bad"), (2 * 2**30, "note"), (20 * 2**30, "ok")]
)
def test_a_disk_that_fills_is_told_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Room(free, free))
    assert found(place.data_dir, data_dir=tmp_path)["disk room"][0] == state


@pytest.mark.parametrize(("took_s", "state"), [(0.004, "ok"), (0.1, "note"), (2.0, "bad")])
def test_a_disk_that_is_slow_to_write_for_good_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took_s: float, state: str
) -> None:
    monkeypatch.setattr(place, "_sync_s", lambda _: took_s)
    assert found(place.data_dir, data_dir=tmp_path)["disk speed"][0] == state


def test_a_place_that_cannot_be_written_is_told() -> None:
    state, words = found(place.data_dir, data_dir=Path("/proc/fjord"))["data directory"]
    assert state == "bad"
    assert "name another with --data-dir" in words


def test_the_port_of_a_running_server_is_its_own(tmp_path: Path, taken: int) -> None:
    lock = ServingLock(tmp_path)
    lock.take()
    try:
        told = found(listening.port, data_dir=tmp_path, port=taken)["port"]
    finally:
        lock.release()
    assert told == ("ok", f"{taken} on 127.0.0.1: a Fjord serves (process {os.getpid()}); ")


def newer(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (lambda _: None, "ok", "0 records"),
        (newer, "bad", "made by fjord"),
        (lambda path: path.write_text("words"), "bad", "file is not a database"),
        (lambda path: path.unlink(), "ok", "none yet"),
    ],
)
def test_a_ledger_is_looked_at_and_left_as_it_is(
    tmp_path: Path, change: Callable[[Path], Any], state: str, words: str
) -> None:
    change(prepared_ledger(tmp_path))
    told = found(place.ledger, data_dir=tmp_path)["ledger"]
    assert told[0] == state
    assert words in told[1]


@pytest.mark.parametrize(
    ("now", "is_kept", "state"),
    [(1.8e9, True, "ok"), (1.8e9, None, "ok"), (1.8e9, False, "note"), (86_400.0, True, "bad")],
)
def test_a_clock_that_cannot_be_right_or_is_kept_by_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch, now: float, is_kept: bool | None, state: str
) -> None:
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(surroundings, "_is_synchronised", lambda: is_kept)
    assert found(surroundings.clock)["clock"][0] == state


def test_the_kernel_says_whether_the_clock_is_kept() -> None:
    assert surroundings._is_synchronised() in (True, False, None)


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (lambda _: None, "ok", "is here"),
        (lambda folder: (folder / "model.safetensors").unlink(), "bad", "model.safetensors is"),
        (lambda folder: flip_a_bit(folder / "model.safetensors"), "bad", "model.safetensors "),
    ],
)
def test_weights_that_are_loaded_at_the_start_are_looked_at(
    tmp_path: Path, change: Callable[[Path], Any], state: str, words: str
) -> None:
    """Of a bundle or `fjord weights`; a folder of one's own has nothing to be compared with."""
    folder = kept_weights(tmp_path / "own").parent
    change(folder)
    registry = tmp_path / "registry.yaml"
    registry.write_text(OWN.format(folder))
    weights = found(models.registry, registry=registry)["weights"]
    assert weights[0] == state
    assert words in weights[1]
    assert ("--repair" in weights[1]) == (state == "bad")


def test_weights_that_are_not_here_are_a_note_and_offline_a_fault(tmp_path: Path) -> None:
    registry = tmp_path / "registry.yaml"
    registry.write_text(OWN.format("owner/nowhere"))
    asked = {"registry": registry, "data_dir": tmp_path}
    assert found(models.registry, **asked)["weights"][0] == "note"
    state, words = found(models.registry, offline=True, **asked)["weights"]
    assert (state, words) == ("bad", "owner/nowhere is not here; `fjord weights pull` fetches it")


def test_a_check_that_fails_itself_is_a_line_and_the_others_go_on() -> None:
    def breaks(_: Settings) -> Iterator[Diagnosis]:
        yield Diagnosis(name="first", state="ok", words="it began")
        raise ValueError("of another machine")

    told = list(diagnoses([("broken", breaks), ("memory", hardware.memory)], Settings()))
    assert [each.name for each in told] == ["first", "broken", "memory"]
    assert "ValueError: of another machine" in told[1].words
