"""Two hosts reach each other, and nothing of them is left."""

import os
import socket
import subprocess
import sys
import time

import pytest

from tests.support.two_hosts import (
    NAMESPACES,
    PREFIX,
    Host,
    hosts_of_a_file,
    skip_without_hosts,
    two_hosts,
)

__all__ = ("hosts_of_a_file",)

LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 7000)) as server:
    print("ready", flush=True)
    while True:
        server.accept()[0].sendall(b"hello")
"""

LEAVE = """
import os
from tests.support.two_hosts import two_hosts
with two_hosts() as (one, _):
    one.popen(["sleep", "100"], stdout=-3)
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def can_be_made() -> None:
    skip_without_hosts()


def listening(host: Host) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", LISTEN, host.address]
    child = host.popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def heard(of: Host, at: Host, timeout_s: float = 10.0) -> bytes:
    with at.inside(), socket.create_connection((of.address, 7000), timeout_s) as connection:
        return connection.recv(5)


def test_each_is_reached_by_the_other_alone_and_a_cut_link_is_silent() -> None:
    with two_hosts() as (one, two):
        listening(two)
        assert heard(two, one) == b"hello"
        assert "10." in one.run(["ip", "-4", "address", "show", "eth0"]).stdout
        two.cut()
        with pytest.raises(OSError, match=r"."):
            heard(two, one, 0.2)
        two.mend()
        assert heard(two, one) == b"hello"


def test_two_pairs_at_once_and_nothing_is_left_of_either() -> None:
    with two_hosts() as (_, two), two_hosts() as (three, _):
        children = listening(two), listening(three)
    assert all(child.poll() == -9 for child in children)
    assert not list(NAMESPACES.glob(f"{PREFIX}-{os.getpid()}-*"))


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVE], stdout=subprocess.PIPE, text=True)
    stale = f"{PREFIX}-{ended.stdout.strip()}-*"
    assert len(list(NAMESPACES.glob(stale))) == 2
    began = time.monotonic()
    with two_hosts():
        assert not list(NAMESPACES.glob(stale))
    assert time.monotonic() - began < 30


def test_the_fixture_is_such_a_pair(hosts: tuple[Host, Host]) -> None:
    assert [host.address.rpartition(".")[2] for host in hosts] == ["1", "2"]
