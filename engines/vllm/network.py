"""By which address and interface the parts of an engine speak with each other."""

import contextlib
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import psutil

from engines.registry.vllm_names import by_keyword


def network_variables(address: str) -> dict[str, str]:
    """What vLLM, gloo and NCCL read, for a part that is reached at `address`."""
    variables = {"VLLM_HOST_IP": address}
    if (name := interface_of(address)) is not None:
        variables |= {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
    return variables


def interface_of(address: str) -> str | None:
    """The network interface of this machine that has it."""
    for name, rows in psutil.net_if_addrs().items():
        if any(row.address.split("%")[0] == address for row in rows):
            return name
    return None


@contextlib.contextmanager
def among_machines(args: Mapping[str, Any]) -> Iterator[None]:
    """The head's variables while it starts, where `args` are an engine's on several machines."""
    address = by_keyword(args).get("master_addr")
    wanted = {} if not address else _unset(network_variables(address), os.environ)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def overlaid(variables: Mapping[str, str]) -> dict[str, str]:
    """This process' environment and `variables`; what an operator has set stays."""
    return {**os.environ, **_unset(variables, os.environ)}


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.split("%")[0]).is_loopback
    except ValueError:
        return False


def _unset(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Those that nobody has set; a loopback address, which a server without a network sets for
    engines of its own, is none."""
    return {
        name: value
        for name, value in variables.items()
        if name not in environment or is_loopback(environment[name])
    }


def free_port(address: str) -> int:
    """Raises OSError."""
    with _listening(address) as listener:
        return int(listener.getsockname()[1])


def _listening(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, 0), family=family)
