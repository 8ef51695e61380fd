"""Prometheus and promtool: the machine's own, else out of Debian's package, which is unpacked into
a folder and never installed: no daemon starts, and nothing of the machine changes."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.serving import wait_until

TOOLS = ("prometheus", "promtool")
APT_S = 60
END_S = 20


def prometheus_tools(folder: Path) -> Mapping[str, str]:
    """Name -> program. Skips the test where there is no way to get them."""
    found = {name: path for name in TOOLS if (path := shutil.which(name))}
    if len(found) == len(TOOLS):
        return found
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("Prometheus is not installed, and this is no Debian to get it from")
    package = _downloaded(folder)
    subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True, timeout=APT_S)
    return {name: str(folder / "root/usr/bin" / name) for name in TOOLS}


def _downloaded(folder: Path) -> Path:
    """apt knows the package's hash; lists that are old or missing are renewed once, by root."""
    if not _apt("download", "prometheus", cwd=folder) and os.geteuid() == 0:
        _apt("update", cwd=folder)
        _apt("download", "prometheus", cwd=folder)
    packages = list(folder.glob("prometheus_*.deb"))
    if not packages:
        pytest.skip("Prometheus is not installed, and apt cannot fetch its package")
    return packages[0]


def _apt(*words: str, cwd: Path) -> bool:
    try:
        said = subprocess.run(
            ["apt-get", "-qq", *words], cwd=cwd, capture_output=True, timeout=APT_S
        )
    except subprocess.TimeoutExpired:
        return False
    return said.returncode == 0


@dataclass(frozen=True)
class Prometheus:
    """A running one: its API."""

    url: str

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series that it has now, or had `at` a moment; fails where Prometheus says that it is
        wrong."""
        answer = self.ask("query", query=expression, **({} if at is None else {"time": str(at)}))
        series: list[dict[str, Any]] = answer["result"]
        return series

    def ask(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]


@contextmanager
def running(program: str, config: Path, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus on loopback with that configuration; its data lies in `folder`."""
    port = _free_port()
    log = folder / "prometheus.log"
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=1h",
        "--storage.tsdb.retention.size=64MB",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.max-connections=16",
        "--query.timeout=20s",
        "--query.max-concurrency=2",
        "--log.level=warn",
    ]
    with log.open("w") as words, subprocess.Popen(command, stdout=words, stderr=words) as process:
        try:
            yield _ready(Prometheus(f"http://127.0.0.1:{port}"), process, log)
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _ready(prometheus: Prometheus, process: "subprocess.Popen[bytes]", log: Path) -> Prometheus:
    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{prometheus.url}/-/ready").status_code == 200
        except httpx.ConnectError:
            return False

    wait_until(is_ready, "Prometheus is ready")
    return prometheus


def _free_port() -> int:
    """Prometheus does not say which port it took, if it is to choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
