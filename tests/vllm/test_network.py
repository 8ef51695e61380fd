"""By which address the parts of an engine on several machines speak."""

import os

import pytest

from engines.vllm.network import among_machines, free_port, interface_of, overlaid

NAMES = ("VLLM_HOST_IP", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_the_heads_variables_stand_while_it_starts() -> None:
    with among_machines({"nnodes": 2, "master-addr": "127.0.0.1"}):
        assert [os.environ.get(name) for name in NAMES] == ["127.0.0.1", "lo", "lo"]
    assert not any(name in os.environ for name in NAMES)
    with among_machines({}):
        assert not any(name in os.environ for name in NAMES)


def test_what_an_operator_has_set_stays_but_for_a_loopback_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`fjord serve --offline` sets one, for engines of its own."""
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    monkeypatch.setenv("VLLM_HOST_IP", "127.0.0.1")
    with among_machines({"master_addr": "10.9.8.7"}):
        assert os.environ["VLLM_HOST_IP"] == "10.9.8.7"
        assert os.environ["NCCL_SOCKET_IFNAME"] == "ib0"
    assert os.environ["VLLM_HOST_IP"] == "127.0.0.1"
    assert overlaid({"VLLM_HOST_IP": "10.9.8.7", "NCCL_SOCKET_IFNAME": "eth0"}).items() >= {
        ("VLLM_HOST_IP", "10.9.8.7"),
        ("NCCL_SOCKET_IFNAME", "ib0"),
    }


def test_an_address_that_no_interface_has_is_told_alone() -> None:
    assert interface_of("192.0.2.1") is None
    assert free_port("127.0.0.1") > 0
