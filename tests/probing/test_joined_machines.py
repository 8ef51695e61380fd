"""`fjord doctor --cluster` of a server and what has joined it, on two hosts."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.cluster_findings import check_three_are_bad, found_by
from tests.support.probed_node import TOKEN
from tests.support.serve_process import FJORD, Server, environment, serving
from tests.support.serving import make_key, wait_until
from tests.support.two_hosts import Host, hosts_of_a_file

__all__ = ("hosts_of_a_file",)

REGISTRY = """\
models:
  tiny: {{source: echo, engine: scripted, context: 4K, output: 1K, preload: true}}
  both:
    {{source: {path}, engine: vllm, context: 1K, output: 900, args: {{nnodes: 2,
      tensor_parallel_size: 2}}}}
profiles:
  embedded: {{}}
"""
PROBED = "tests.support.probed_node"
Process = subprocess.Popen[str]


@dataclass
class Head:
    """A server on the one host, and where nodes come from."""

    server: Server
    host: Host
    other: Host
    url: str
    admin: str

    def doctor(self, *args: str, host: Host | None = None, folder: str = "") -> Process:
        """As an operator on the server's machine runs it, unless it is told otherwise."""
        argv = [*FJORD, "doctor", "--cluster", *args]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        home = self.server.home / folder
        home.mkdir(exist_ok=True)
        return (host or self.host).popen(argv, cwd=home, env=environment(COLUMNS="80"), **pipes)

    @contextlib.contextmanager
    def node(self, argv: list[str]) -> Iterator[Process]:
        """Once it has joined."""
        variables = environment(FJORD_NODE_TOKEN=TOKEN, COLUMNS="80")
        process = self.other.popen(
            argv, cwd=self.server.home, env=variables, stdout=subprocess.PIPE, text=True
        )
        try:
            wait_until(lambda: self.states() == ["joined"], "it joins")
            yield process
        finally:
            process.kill()
            process.wait()
            wait_until(lambda: "joined" not in self.states(), "it is lost")

    def states(self) -> list[str]:
        argv = [*FJORD, "nodes", "--json"]
        shown = self.host.run(argv, cwd=self.server.home, env=environment()).stdout
        return [each["state"] for each in json.loads(shown) if "vllm" in each]


@pytest.fixture(scope="module")
def head(hosts: tuple[Host, Host], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    one, two = hosts
    home = tmp_path_factory.mktemp("head")
    model = home / "weights"
    model.mkdir()
    (model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    (model / "model.safetensors").write_bytes(b"\0" * 1000)
    (home / "model_registry.yaml").write_text(REGISTRY.format(path=model))
    admin = make_key(home / "data", service="admin")
    where: Any = {"FJORD_NODE_TOKEN": TOKEN, "FJORD_NODE": "gpu-1"}
    with serving(home, "--host", one.address, command=one.argv(FJORD), **where) as server:
        yield Head(server, one, two, server.url(), admin)


def joining(head: Head) -> list[str]:
    return [*FJORD, "node", "--join", head.url, "--name", "gpu-2", "--data-dir", "b"]


def test_that_none_has_joined_is_said_with_how_one_does(head: Head) -> None:
    doctor = head.doctor()
    _, said = doctor.communicate(timeout=30)
    assert doctor.returncode == 2
    words = " ".join(said.split())
    assert "No node has joined this server." in words
    assert f"fjord node --join {head.url}." in words


@pytest.mark.vllm
@pytest.mark.slow
def test_a_server_and_a_node_that_are_well_meet_in_a_handshake(head: Head) -> None:
    with head.node(joining(head)):
        doctor = head.doctor()
        shown, said = doctor.communicate(timeout=120)
    assert doctor.returncode == 0, shown + said
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "Nothing stands in the way."
    assert lines.index("gpu-1") < lines.index("gpu-2")
    assert shown.count("\nok   gloo       2 machines met in ") == 2
    assert "ok   ports      2 free ones, from all" in lines
    assert "(eth0), by which it has joined, reached by all" in " ".join(shown.split())
    assert "one folder with gpu-1" in " ".join(shown.split())
    assert "the handshake of gloo" in said
    assert TOKEN not in shown + said


def test_what_is_broken_is_found_from_elsewhere_too(head: Head) -> None:
    what = {"versions": {"vLLM": "0.31.0"}, "clock_s": 40, "not_there": [29501]}
    with head.node([sys.executable, "-m", PROBED, head.url, "gpu-2", json.dumps(what)]):
        asked = ("--json", "--ports=29500-29501", "--url", head.url, "--api-key", head.admin)
        doctor = head.doctor(*asked, host=head.other, folder="elsewhere")
        shown, said = doctor.communicate(timeout=120)
    assert doctor.returncode == 1, said
    told = json.loads(shown)
    found = found_by(told)
    assert told["bad"] == 3
    check_three_are_bad(found)
    assert found["gpu-2", "weights"]["state"] == "ok"


def until_said(doctor: Process, words: str) -> None:
    assert doctor.stderr is not None
    said = []
    for line in doctor.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError(said)


def once_it_may(head: Head) -> Process:
    """One that probes, once the server has noticed that another has left."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        doctor = head.doctor()
        assert doctor.stderr is not None
        if "probing 2 machines" in doctor.stderr.readline():
            return doctor
        doctor.communicate(timeout=10)
    raise AssertionError("it goes on for somebody who has left")


def test_one_asks_at_a_time_and_a_node_that_freezes_is_a_line(head: Head) -> None:
    with head.node(joining(head)) as node:
        first = head.doctor()
        until_said(first, "addresses")
        second = head.doctor()
        _, said = second.communicate(timeout=30)
        assert (second.returncode, "probed for somebody else" in said) == (2, True)
        first.send_signal(signal.SIGINT)
        assert first.wait(10) == 130
        third = once_it_may(head)
        until_said(third, "addresses")
        began = time.monotonic()
        node.send_signal(signal.SIGSTOP)
        shown, _ = third.communicate(timeout=60)
        assert time.monotonic() - began < 30
    assert third.returncode == 1
    assert "Traceback" not in shown
    of_node = shown.partition("\ngpu-2\n")[2]
    assert "BAD " in of_node, shown
    assert "it is away: its link ended" in " ".join(of_node.split()), shown


def test_a_node_that_is_unknown_is_refused(head: Head) -> None:
    doctor = head.doctor("--node=gpu-7")
    _, said = doctor.communicate(timeout=30)
    assert doctor.returncode == 2
    assert "No node called 'gpu-7' has joined." in said


def test_who_may_not_ask_is_told_so(head: Head) -> None:
    key = make_key(head.server.home / "data")
    asked = ("--url", head.url, "--api-key", key)
    doctor = head.doctor(*asked, host=head.other, folder="elsewhere")
    _, said = doctor.communicate(timeout=30)
    assert doctor.returncode == 2
    assert "does not take this for its operator" in " ".join(said.split())
