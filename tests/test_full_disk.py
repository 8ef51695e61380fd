"""The disk under a serving process fills up: nothing leaves unbilled, and it mends itself."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.ledger.sqlite import FILE_NAME
from tests.crowd import (
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
from tests.serving import make_key, read_records, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SIZE = "12m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, mounted as the data directory."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(data_dir)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("a small disk needs the command mount")
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    yield data_dir
    subprocess.run(["umount", str(data_dir)], check=True)


def fill(disk: Path) -> None:
    """To the last byte."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk_refuses_new_work_until_there_is_room_again(tmp_path: Path, disk: Path) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    key = make_key(disk)
    with server_process(tmp_path) as process:
        url = url_of(process, tmp_path / "log")
        with asking(Crowd(url, key, "full", may_refuse=True)) as crowd:
            wait_until(lambda: len(crowd.ended) >= 5 * CLIENTS, "answers come")
            fill(disk)
            wait_until(lambda: readiness(url)[0] == 503, "the server sees that the disk is full")
            reason = readiness(url)[1]["ledger"]
            assert FILE_NAME in reason
            assert "full" in reason
            wait_until(lambda: crowd.failed, "a stream that ran ends with an error")
            wait_until(lambda: crowd.refused[503] > CLIENTS, "new work is refused")
            ended = len(crowd.ended)
            (disk / "filler").unlink()
            wait_until(lambda: readiness(url) == (200, {}), "the server mends itself")
            wait_until(lambda: len(crowd.ended) >= ended + 5 * CLIENTS, "answers come again")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert_clean(disk / FILE_NAME)
    ends = ends_of(read_records(disk))
    assert {ends.get(name) for name in crowd.ended} == {"length"}
    assert {ends.get(name) for name in crowd.failed} == {"length"}
    assert set(crowd.refused) == {503}


def test_a_kill_while_the_disk_is_full_loses_no_answer_that_was_seen(
    tmp_path: Path, disk: Path
) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    key = make_key(disk)
    with server_process(tmp_path) as process:
        url = url_of(process, tmp_path / "log")
        with asking(Crowd(url, key, "full", may_refuse=True)) as crowd:
            wait_until(lambda: len(crowd.ended) >= CLIENTS, "answers come")
            fill(disk)
            wait_until(lambda: crowd.refused[503], "new work is refused")
            process.kill()
    with server_process(tmp_path) as process:
        assert process.wait(30) == 2
        assert "full" in (tmp_path / "log").read_text()
    (disk / "filler").unlink()
    with server_process(tmp_path) as process:
        url_of(process, tmp_path / "log")
        assert checked(disk, [crowd]) > 0
