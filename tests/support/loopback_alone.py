"""`python -m tests.support.loopback_alone COMMAND…`: runs it with the loopback and nothing else.

In a network namespace of its own, where the kernel lets us make one; what it tries to reach beyond,
the kernel counts.
"""

import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, 0x41
COUNTED = ("Ip.OutNoRoutes", "Udp.OutDatagrams", "Ip6OutNoRoutes", "Udp6OutDatagrams")


def command_alone(command: Sequence[str]) -> list[str]:
    """`command` in a namespace; root needs no user namespace for it."""
    unshare = ["unshare", "-n"] if os.getuid() == 0 else ["unshare", "-rn"]
    return [*unshare, sys.executable, "-m", "tests.support.loopback_alone", *command]


def why_not() -> str | None:
    """Why no namespace can be made here; None: it can."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "NETWORK NAMESPACES ARE NOT TO BE HAD HERE: --offline was not proved"
    ended = subprocess.run(command_alone(["true"]), capture_output=True, text=True)
    if ended.returncode == 0:
        return None
    return f"NO NETWORK NAMESPACE CAN BE MADE HERE: --offline was not proved ({ended.stderr[-80:]})"


def counters() -> dict[str, int]:
    """What all processes of this namespace together sent, or had no route for."""
    found: dict[str, int] = {}
    names: list[str] = []
    for line in Path("/proc/self/net/snmp").read_text().splitlines():
        family, *fields = line.replace(":", "").split()
        if names and fields[0].lstrip("-").isdigit():
            found |= {f"{family}.{n}": int(v) for n, v in zip(names, fields, strict=True)}
        names = fields
    if Path("/proc/self/net/snmp6").exists():
        text = Path("/proc/self/net/snmp6").read_text()
        found |= {name: int(value) for name, value in re.findall(r"(\S+)\s+(\d+)", text)}
    return {name: found.get(name, 0) for name in COUNTED}


def main(command: Sequence[str]) -> None:
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", UP_AND_RUNNING)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    main(sys.argv[1:])
