"""`fjord doctor --cluster` on two hosts: all is well; and what is broken is found and named."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cluster_findings import check_three_are_bad, found_by
from tests.support.probed_node import TOKEN
from tests.support.serve_process import FJORD, environment
from tests.support.two_hosts import Host, hosts_of_a_file

__all__ = ("hosts_of_a_file",)

MODEL = "--model=tiny={}"
Hosts = tuple[Host, Host]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that both see: one file system."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (folder / "model.safetensors").write_bytes(b"\0" * 1000)
    return MODEL.format(folder)


def doctor(host: Host, name: str, home: Path, *args: str) -> "subprocess.Popen[str]":
    around = environment(FJORD_NODE=name, FJORD_NODE_TOKEN=TOKEN, COLUMNS="80")
    argv = [*FJORD, "doctor", "--cluster", "--wait", "60", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return host.popen(argv, cwd=home, env=around, **pipes)


@pytest.mark.vllm
@pytest.mark.slow
def test_two_that_are_well_meet_in_a_handshake(hosts: Hosts, tmp_path: Path, model: str) -> None:
    one, two = hosts
    head = doctor(one, "gpu-1", tmp_path, "--listen", "--engine=vllm", model)
    node = doctor(two, "gpu-2", tmp_path, f"{one.address}:8790")
    shown, _ = head.communicate(timeout=120)
    _, said = node.communicate(timeout=20)
    assert (head.returncode, node.returncode) == (0, 0), shown + said
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == said.splitlines()[-1] == "Nothing stands in the way."
    assert lines.index("gpu-1") < lines.index("gpu-2")
    assert shown.count("\nok   gloo       2 machines met in ") == 2
    assert "ok   ports      29500 and 2 free ones, from all" in lines
    assert "one folder with gpu-1" in shown.replace("\n                ", " ")
    assert "GLOO_SOCKET_IFNAME=eth0" in shown
    assert "note nccl       not tried: no card on gpu-1" in lines
    assert TOKEN not in shown + said


def test_what_is_broken_is_found_and_named(hosts: Hosts, tmp_path: Path, model: str) -> None:
    one, two = hosts
    ports = "--ports=29500-29501"
    head = doctor(one, "gpu-1", tmp_path, "--listen", "--json", "--engine=vllm", ports, model)
    what = {"versions": {"vLLM": "0.31.0"}, "clock_s": 40, "not_there": [29501]}
    argv = [sys.executable, "-m", "tests.support.probed_node", f"{one.address}:8790", "gpu-2"]
    node = two.popen(
        [*argv, json.dumps(what)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    shown, said = head.communicate(timeout=120)
    assert head.returncode == 1, said
    told = json.loads(shown)
    assert told["bad"] == 3
    assert node.communicate(timeout=20)[0] == "3\n"
    found = found_by(told)
    check_three_are_bad(found)
    assert found["gpu-2", "link"]["state"] != "bad"
    assert found["gpu-2", "gloo"]["words"] == "not tried: addresses and ports come first"


def test_ctrl_c_ends_the_head_at_once_and_its_nodes_with_it(hosts: Hosts, tmp_path: Path) -> None:
    one, two = hosts
    head = doctor(one, "gpu-1", tmp_path, "--listen", "--nodes=3")
    node = doctor(two, "gpu-2", tmp_path, f"{one.address}:8790")
    assert head.stderr is not None
    assert any("gpu-2 is here" in line for line in head.stderr)
    began = time.monotonic()
    head.send_signal(signal.SIGINT)
    _, said = node.communicate(timeout=20)
    _, told = head.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert head.returncode == 130
    assert node.returncode == 2
    assert said.splitlines()[-1] == f"fjord: {one.address}:8790: its link ended."
    assert "Traceback" not in told
