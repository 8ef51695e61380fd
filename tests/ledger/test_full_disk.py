"""The disk under a serving process fills up: nothing leaves unbilled, and it mends itself."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from server.ledger.sqlite import FILE_NAME
from tests.support.crowd import (
    CLIENTS,
    REGISTRY,
    Crowd,
    asking,
    assert_clean,
    checked,
    ends_of,
    readiness,
    server_process,
    url_of,
)
from tests.support.serving import make_key, read_records, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SIZE = "12m"
NO_WORDS = {"FJORD_LOG_LEVEL": "error", "PYTHONDONTWRITEBYTECODE": "1"}
"""Python 3.11 would leave the beginnings of bytecode where there is no room for it."""


class SmallDisk:
    """A file system of its own, mounted as the data directory."""

    says = "full"

    def __init__(self, data_dir: Path) -> None:
        self.filler = data_dir / "filler"

    def fill(self, server: int) -> None:
        """To the last byte."""
        with self.filler.open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass

    def free(self, server: int) -> None:
        self.filler.unlink()


class ShortFiles:
    """Where nothing can be mounted: no file of the server may grow."""

    says = "cannot be written"

    def fill(self, server: int) -> None:
        _, hard = resource.prlimit(server, resource.RLIMIT_FSIZE)
        resource.prlimit(server, resource.RLIMIT_FSIZE, (4096, hard))

    def free(self, server: int) -> None:
        _, hard = resource.prlimit(server, resource.RLIMIT_FSIZE)
        resource.prlimit(server, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system where that is permitted, else a plain folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    with suppress(FileNotFoundError):
        subprocess.run(mount, capture_output=True)
    yield folder
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_new_work_until_there_is_room_again(
    tmp_path: Path, data_dir: Path
) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    disk = SmallDisk(data_dir) if data_dir.is_mount() else ShortFiles()
    key = make_key(data_dir)
    with server_process(tmp_path, environment=NO_WORDS) as process:
        url = url_of(process, tmp_path / "log")
        with asking(Crowd(url, key, "full", may_refuse=True)) as crowd:
            wait_until(lambda: len(crowd.ended) >= 5 * CLIENTS, "answers come")
            disk.fill(process.pid)
            wait_until(lambda: readiness(url)[0] == 503, "the server sees that the disk is full")
            reason = readiness(url)[1]["ledger"]
            assert reason == "Usage cannot be recorded now; the server's log says why."
            assert disk.says in (tmp_path / "log").read_text()
            wait_until(lambda: crowd.failed, "a stream that ran ends with an error")
            wait_until(lambda: crowd.refused[503] > CLIENTS, "new work is refused")
            ended = len(crowd.ended)
            disk.free(process.pid)
            wait_until(lambda: readiness(url) == (200, {}), "the server mends itself")
            wait_until(lambda: len(crowd.ended) >= ended + 5 * CLIENTS, "answers come again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert_clean(data_dir / FILE_NAME)
    ends = ends_of(read_records(data_dir))
    assert {ends.get(name) for name in crowd.ended} == {"length"}
    assert {ends.get(name) for name in crowd.failed} == {"length"}
    assert set(crowd.refused) == {503}


def test_a_kill_while_the_disk_is_full_loses_no_answer_that_was_seen(
    tmp_path: Path, data_dir: Path
) -> None:
    if not data_dir.is_mount():
        pytest.skip("a small disk cannot be mounted here")
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    disk, key = SmallDisk(data_dir), make_key(data_dir)
    with server_process(tmp_path) as process:
        url = url_of(process, tmp_path / "log")
        with asking(Crowd(url, key, "full", may_refuse=True)) as crowd:
            wait_until(lambda: len(crowd.ended) >= CLIENTS, "answers come")
            disk.fill(process.pid)
            wait_until(lambda: crowd.refused[503], "new work is refused")
            process.kill()
    with server_process(tmp_path) as process:
        assert process.wait(30) == 2
        assert "full" in (tmp_path / "log").read_text()
    disk.free(process.pid)
    with server_process(tmp_path) as process:
        url_of(process, tmp_path / "log")
        assert checked(data_dir, [crowd]) > 0
