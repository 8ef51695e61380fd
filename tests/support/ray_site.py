"""A Ray cluster on two hosts: its head on the first, which claims no card, a card on the second.

The cards are those of a script in nvidia-smi's place: vLLM computes on the CPU.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support.two_hosts import Host

PORT = 6379
RAY = str(Path(sys.executable).with_name("ray"))
SMI = """\
#!/bin/sh
case "$*" in
  *-L*) echo "GPU 0: NVIDIA Test (UUID: GPU-1)" ;;
  *memory*) echo "0, GPU-1, NVIDIA Test, 24564" ;;
esac
"""
UP_S = 60.0


class RaySite:
    """`one` is the front's; each has a folder of its own for Ray, as two machines have."""

    def __init__(self, hosts: tuple[Host, Host], folder: Path) -> None:
        self.one, self.two = hosts
        self._folder = folder
        tools = folder / "bin"
        tools.mkdir()
        (tools / "nvidia-smi").write_text(SMI)
        (tools / "nvidia-smi").chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"
        self.address = f"{self.one.address}:{PORT}"

    def start(self) -> None:
        self.head()
        self.node()

    def head(self) -> None:
        words = ["--head", "--port", str(PORT), "--num-gpus", "0", "--include-dashboard", "false"]
        self._ray(self.one, *words)
        wait_for(lambda: self._listens(), "Ray's head listens")

    def node(self) -> None:
        self._ray(self.two, "--address", self.address, "--num-gpus", "1")

    def variables(self) -> dict[str, str]:
        """Of a server on `one`."""
        return {"RAY_ADDRESS": self.address, "PATH": self.path}

    def engines(self) -> list[psutil.Process]:
        """vLLM's cores that are Ray's actors."""
        return actors("EngineHost")

    def _listens(self) -> bool:
        probe = f"exec 3<>/dev/tcp/{self.one.address}/{PORT}"
        return self.one.run(["bash", "-c", probe], check=False).returncode == 0

    def _ray(self, host: Host, *words: str) -> "subprocess.Popen[Any]":
        options = [
            *("--node-ip-address", host.address, "--temp-dir", str(self._folder / host.name[-1])),
            *("--num-cpus", "4", "--object-store-memory", "80000000"),
            *("--disable-usage-stats", "--block"),
        ]
        return host.popen(
            [RAY, "start", *words, *options],
            env=_without_ours() | {"PATH": self.path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def ray_site(hosts: tuple[Host, Host]) -> Iterator[RaySite]:
    # Ray's sockets lie there: a path of 107 characters is the most that one may have.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    try:
        yield RaySite(hosts, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def actors(name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(f"ray::{name}"):
                found.append(process)
    return found


def _without_ours() -> dict[str, str]:
    """A machine without Fjord: what is imported there by its name is not found."""
    ours = ("PYTHONPATH", "FJORD_", "COVERAGE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return {**kept, "RAY_USAGE_STATS_ENABLED": "0"}


def wait_for(is_true: Any, what: str, within_s: float = UP_S) -> float:
    began = time.monotonic()
    while not is_true():
        assert time.monotonic() - began < within_s, f"never: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def words_of(processes: Sequence[psutil.Process]) -> list[str]:
    return [" ".join(process.cmdline()) for process in processes]
