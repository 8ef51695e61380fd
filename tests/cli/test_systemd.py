"""What a service manager hears from `fjord serve`, and the unit that fits it."""

import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from configparser import RawConfigParser
from contextlib import closing
from pathlib import Path

import pytest

from server.cli.systemd import ServiceManager
from server.settings import Settings
from tests.support.paths import ROOT
from tests.support.serve_process import serving, with_registry
from tests.support.service_manager import Manager

LISTENS = ["READY=1", "STATUS=It listens; preloaded models are loaded."]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    is_path = request.param == "path"
    made = Manager(str(tmp_path / "notify") if is_path else f"@fjord-{os.getpid()}-{id(request)}")
    yield made
    made.close()


@pytest.mark.slow
def test_it_tells_from_its_start_over_a_reload_to_its_end(manager: Manager, tmp_path: Path) -> None:
    home = with_registry(tmp_path)
    with serving(home, NOTIFY_SOCKET=manager.address) as server:
        assert manager.hears() == LISTENS
        assert manager.hears() == ["STATUS=Ready."]
        server.until("Ready")

        server.process.send_signal(signal.SIGHUP)
        [reloading, since] = manager.hears()
        assert reloading == "RELOADING=1"
        assert int(since.removeprefix("MONOTONIC_USEC=")) > 0
        assert manager.hears() == ["READY=1", "STATUS=The registry was read again."]

        (home / "model_registry.yaml").write_text("models: [")  # is told as well: it goes on
        server.process.send_signal(signal.SIGHUP)
        assert manager.hears()[0] == "RELOADING=1"
        assert manager.hears() == ["READY=1", "STATUS=The registry has a mistake."]

        server.process.send_signal(signal.SIGTERM)
        assert manager.hears() == ["STOPPING=1", "STATUS=Running answers end."]
        assert server.process.wait(30) == 0


@pytest.mark.slow
def test_the_event_loop_says_that_it_lives_until_it_stands_still(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    home = with_registry(tmp_path / "home")
    with (
        closing(Manager(str(tmp_path / "notify"))) as manager,
        serving(home, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="300000") as server,
    ):
        server.until("Ready")
        for _ in range(3):
            assert manager.hears(but=LISTENS[0])[0] in ("WATCHDOG=1", "STATUS=Ready.", "READY=1")
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert manager.is_silent_for(1.0)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert manager.hears(but="STATUS=Ready.") == ["WATCHDOG=1"]


def test_engines_processes_do_not_inherit_the_socket() -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1000000", "OTHER": "1"}
    ServiceManager.of(environment)
    assert environment == {"OTHER": "1"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("variables", "pings"),
    [
        ({"WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "60000"}, True),
        ({"WATCHDOG_USEC": "60000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
async def test_a_watchdog_is_fed_where_it_watches_this_process(
    variables: dict[str, str], pings: bool
) -> None:
    living = asyncio.create_task(ServiceManager.of({**variables}).stay_alive())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert living.done() is not pings
    living.cancel()


def test_a_manager_that_is_gone_or_was_never_there_hinders_nobody(tmp_path: Path) -> None:
    for address in (None, "", str(tmp_path / "nobody"), "x" * 300):
        manager = ServiceManager(address)
        manager.ready("…")
        manager.reloading()
        manager.stopping()


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    deaf = Manager(str(tmp_path / "notify"))
    teller = ServiceManager(deaf.address)
    for _ in range(2000):  # far beyond what the socket holds
        teller.status("x" * 200)
    deaf.close()


@pytest.fixture(scope="module")
def unit() -> RawConfigParser:
    read = RawConfigParser(strict=False, delimiters=("=",), inline_comment_prefixes=None)
    read.optionxform = str  # type: ignore[method-assign, assignment]
    read.read(ROOT / "deploy/fjord.service")
    return read


def test_the_unit_fits_the_server(unit: RawConfigParser) -> None:
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["RestartPreventExitStatus"] == "2"
    drain_s = Settings().drain_timeout_s
    assert int(service["TimeoutStopSec"]) >= drain_s + 10
    names = {part.split("=")[0] for part in service["Environment"].split()}
    known = {f"FJORD_{name.upper()}" for name in Settings.model_fields}
    assert names - known == {"HOME"}
    assert service["ExecStart"].endswith("/.venv/bin/fjord serve")


def test_the_unit_is_hardened_and_leaves_engines_what_they_need(unit: RawConfigParser) -> None:
    service = unit["Service"]
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID"):
        assert service[name] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    for broken in ("PrivateDevices", "MemoryDenyWriteExecute", "PrivateNetwork", "PrivateIPC"):
        assert broken not in service
    mode = (ROOT / "deploy/fjord.service").stat().st_mode
    assert not mode & stat.S_IXUSR
