"""`make test-docker`: the small image and deploy/compose.yaml in a Docker engine of one's own. Its
containers are killed, paused and cut off. The tests run in this order, on one site.

Nothing here is part of `make test`: it takes minutes, root and Debian.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from server.settings import Settings
from tests.support.compose import (
    DATABASE,
    PROMETHEUS,
    PROMETHEUS_PORT,
    SERVER,
    TOKENS,
    Site,
    cut_off,
    paused,
    site_of,
)
from tests.support.docker import Engine, engine, mounts, needs_engine, processes_of
from tests.support.paths import ROOT
from tests.support.serving import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]
SHARED, USER = Path("/dev/shm"), 10001


@pytest.fixture(scope="module")
def before() -> dict[str, set[str]]:
    return left_over()


def left_over() -> dict[str, set[str]]:
    return {
        "network links": set(psutil.net_if_addrs()),
        "shared memory": {path.name for path in SHARED.iterdir() if path.stat().st_uid == USER},
    }


@pytest.fixture(scope="module")
def docker(
    before: dict[str, set[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """At its end nothing is left of it."""
    needs_engine()
    folder = tmp_path_factory.mktemp("docker")
    with engine(folder) as found:
        yield found
    assert not folder.exists()
    assert mounts(folder) == []
    assert processes_of(folder) == []
    assert left_over() == before


@pytest.fixture(scope="module")
def site(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = site_of(docker, tmp_path_factory.mktemp("site"))
    try:
        found.up()
        found.make_key()
        yield found
    finally:
        found.compose("down", "--volumes", "--timeout", "20")
    assert docker("ps", "--all", "--quiet") == ""
    assert docker("volume", "ls", "--quiet") == ""
    assert "fjordtest" not in docker("network", "ls")


def test_the_official_client_asks_and_streams(site: Site) -> None:
    assert "Oslo" in site.ask("smol", max_tokens=30)
    assert site.stream().rest() == TOKENS
    site.check_ledger()


def test_prometheus_scrapes_the_server(site: Site) -> None:
    def is_up() -> bool:
        asked = httpx.get(
            f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/query", params={"query": 'up{job="fjord"}'}
        )
        return [each["value"][1] for each in asked.json()["data"]["result"]] == ["1"]

    wait_until(is_up, "the server is scraped")
    rules = httpx.get(f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/rules").json()["data"]["groups"]
    assert [group["name"] for group in rules] == ["fjord"]


def test_health_checks_are_passed(site: Site) -> None:
    for service in (SERVER, DATABASE, PROMETHEUS):
        site.healthy(service)


def test_a_database_that_is_killed_under_requests_costs_no_record(site: Site) -> None:
    stop, failed = threading.Event(), list[str]()

    def go_on() -> None:
        while not stop.is_set():
            try:
                site.ask()
            except Exception as error:
                failed.append(str(error))

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    asked = len(site.acknowledged)
    wait_until(lambda: len(site.acknowledged) > asked, "an answer")
    site.engine("kill", site.container(DATABASE))
    away = len(site.acknowledged)
    wait_until(lambda: len(site.acknowledged) > away + 8, "answers while it is away")
    site.engine("start", site.container(DATABASE))
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    site.check_ledger()


def test_a_server_that_dies_in_a_stream_comes_back_with_its_ledger(site: Site) -> None:
    """Not by `docker kill`, after which Docker leaves it alone."""
    stream = site.stream()
    pid = int(site.inspected(SERVER, "{{.State.Pid}}"))
    os.kill(pid, signal.SIGKILL)
    stream.breaks()
    wait_until(lambda: site.inspected(SERVER, "{{.RestartCount}}") == "1", "restarted")
    site.ready()
    site.ask()
    site.check_ledger()
    assert [each["end"] for each in site.records().values()].count("lost") == 1


def test_a_server_that_is_frozen_goes_on_where_it_was(site: Site) -> None:
    stream = site.stream()
    with paused(site, SERVER), pytest.raises(httpx.TimeoutException):
        httpx.get(f"{site.url}/health", timeout=2)
    assert stream.rest() == TOKENS
    site.check_ledger()


def test_a_server_that_is_cut_off_from_its_database_serves(site: Site) -> None:
    with cut_off(site, DATABASE):
        for _ in range(3):
            site.ask()
        wait_until(lambda: site.metric("fjord_ledger_unshipped_records") >= 3, "records wait")
    wait_until(lambda: site.metric("fjord_ledger_unshipped_records") == 0, "records are shipped")
    site.check_ledger()


def test_the_same_volumes_are_the_same_site(site: Site) -> None:
    known = site.records()
    site.compose("down", "--timeout", "20")
    assert site.engine("ps", "--all", "--quiet") == ""
    site.up()
    assert site.records() == known
    site.ask()  # the key is known
    site.check_ledger()


def test_a_stop_lets_a_stream_come_to_its_end(site: Site) -> None:
    stream, began = site.stream(), time.monotonic()
    stopping = threading.Thread(target=site.engine, args=("stop", site.container(SERVER)))
    stopping.start()
    wait_until(lambda: site.status("/ready") != 200, "it drains")
    assert stream.rest() == TOKENS
    stopping.join()
    assert time.monotonic() - began < Settings().drain_timeout_s
    assert site.inspected(SERVER, "{{.State.ExitCode}}") == "0"
    site.compose("start", SERVER)
    site.ready()
    site.check_ledger()


def test_the_image_runs_as_the_chart_has_it(site: Site) -> None:
    """No capability, a file system that is read-only, volumes that are its group's."""
    docker = site.engine
    volume = ("--volume", "chart:/data")
    opened = "import os; os.chown('/data', 0, 10001); os.chmod('/data', 0o2775)"
    docker("run", "--rm", "--user=0", *volume, "--entrypoint=python", "fjord-cpu", "-c", opened)
    held = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    docker("run", "-d", "--name=chart", *held, *volume, "--network=fjordtest_default", "fjord-cpu")
    try:
        state = "{{.State.Health.Status}}"
        wait_until(lambda: docker.inspected("chart", state) == "healthy", "it lives")
        made = docker("exec", "chart", "fjord", "keys", "create", "--name", "a")
        assert "wayscloud_" in made
        docker("stop", "--time=30", "chart")
        assert docker.inspected("chart", "{{.State.ExitCode}}") == "0"
    finally:
        docker("rm", "--force", "--volumes", "chart")
        docker("volume", "rm", "chart")


def test_apptainers_recipe_makes_what_runs(docker: Engine, site: Site) -> None:
    """Its files and commands, by Docker: Apptainer is not in Debian 12."""
    text = (ROOT / "deploy/apptainer/fjord.def").read_text()
    values = {**dict(re.findall(r"^ {4}([A-Z]+)=(\S+)$", text, re.M)), "LOCK": "laptop"}
    text = re.sub(r"\{\{ ([A-Z]+) \}\}", lambda found: values[found[1]], text)
    parts = dict(re.findall(r"^%(\w+)\n(.*?)(?=^%|\Z)", text, re.M | re.S))
    files = "".join(f"COPY {line.strip()}\n" for line in parts["files"].strip().splitlines())
    recipe = f"ARG BASE\nFROM ${{BASE}}\n{files}"
    for name in ("post", "environment", "runscript"):
        lines = "".join(f" {quoted(line)}" for line in parts[name].splitlines())
        recipe += f"RUN printf '%s\\n'{lines} >/{name}\n"
    recipe += "RUN sh /post\n"
    recipe += 'ENTRYPOINT ["sh", "-c", ". /environment; . /runscript", "fjord"]\n'
    docker.build("apptainer", recipe, ROOT)
    shown = docker("run", "--rm", "--user=1000", "--read-only", "apptainer", "models")
    assert "mixtral-8x7b" in shown


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
