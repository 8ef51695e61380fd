"""`fjord doctor --cluster ray`: one command asks a machine that has no Fjord of its own."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.command import fjord_here
from tests.support.serve_process import FJORD, environment, with_registry
from tests.support.serving import wait_until
from tests.support.two_hosts import Host, hosts_of_a_file

__all__ = ("hosts_of_a_file",)

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not here")
PORT = 6399
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Ray's sockets lie there."""
    made = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def start(stack: ExitStack, host: Host, folder: Path, *words: str) -> None:
    """Until the stack's end."""
    bare = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = host.popen(
        [
            *(RAY, "start", *words, "--node-ip-address", host.address, "--block"),
            *("--temp-dir", str(folder / host.name[-1]), "--num-cpus", "2"),
            *("--object-store-memory", "80000000", "--disable-usage-stats"),
        ],
        env=bare,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)


def machines(host: Host, around: dict[str, str]) -> int:
    """Of the cluster, as Ray counts them."""
    argv = [RAY, "status", "--address", around["RAY_ADDRESS"]]
    shown = host.run(argv, env=os.environ | around, check=False).stdout
    return shown.count(" node_")


@pytest.mark.slow
@pytest.mark.vllm
def test_a_machine_of_the_cluster_is_asked_by_ray(
    hosts: tuple[Host, Host], folder: Path, stack: ExitStack, tmp_path: Path
) -> None:
    one, two = hosts
    address = f"{one.address}:{PORT}"
    start(stack, one, folder, "--head", "--port", str(PORT), "--include-dashboard", "false")
    around = environment(RAY_ADDRESS=address, RAY_USAGE_STATS_ENABLED="0", FJORD_NODE="gpu-1")
    wait_until(lambda: machines(one, around) == 1, "Ray's head is there", timeout_s=60)
    start(stack, two, folder, "--address", address)
    wait_until(lambda: machines(one, around) == 2, "both are there", timeout_s=60)
    with_registry(tmp_path)
    argv = [*FJORD, "doctor", "--cluster", "ray", "--json"]
    ended = one.run(argv, cwd=tmp_path, env=around, timeout=200, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert told["nodes"][0]["node"] == "gpu-1"
    checks = {each["name"]: each for each in told["nodes"][1]["checks"]}
    assert checks["ports"]["words"] == "29500 and 2 free ones, from all"
    assert two.address in checks["address"]["words"]
    assert checks["gloo"]["words"].startswith("2 machines met in ")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("ray://127.0.0.1:10001", "RAY_ADDRESS is no HOST:PORT of a cluster's head"),
        ("auto", "RAY_ADDRESS is no HOST:PORT of a cluster's head"),
        ("x:" + "9" * 5000, "RAY_ADDRESS is no HOST:PORT of a cluster's head"),
    ],
)
def test_without_a_cluster_it_says_so(tmp_path: Path, address: str, words: str) -> None:
    with_registry(tmp_path)
    ended = fjord_here(tmp_path, "doctor", "--cluster", "ray", RAY_ADDRESS=address)
    assert (ended.returncode, ended.stderr) == (2, f"fjord: --cluster ray: {words}.\n")
