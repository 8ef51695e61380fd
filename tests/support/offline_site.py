"""Within a network namespace: a bundle is installed, served and asked; what came of it as JSON.

`python -m tests.support.offline_site HOME`: HOME has b.tar and site.pub. With STRACE set to a file
the server and all its children run under strace, which writes each of their calls there.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.support.loopback_alone import counters
from tests.support.serve_process import FJORD, Server, ask, environment, fjord, serving

CALLS = "connect,bind,sendto,sendmsg,sendmmsg"
REGISTRY = "data/bundle/model_registry.yaml"
ABSENT = """\
  absent:
    source: owner/absent
    engine: llamacpp
    context: 4K
    output: 1K
"""


def main(home: Path) -> None:
    told: dict[str, Any] = {"before": counters()}
    installed = subprocess.run(
        [sys.executable, "-S", "-m", "engines.bundle", "install", "b.tar", "--key", "site.pub"],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
    )
    told["install"] = installed.stderr
    registry = home / "data" / "bundle" / "model_registry.yaml"
    (home / "own.yaml").write_text(with_another(registry.read_text()))
    with serving(home, *flags(home), command=command(), FJORD_PROFILE="p") as server:
        told |= answers(server)
        psutil.Process(server_pid(server)).terminate()
        told["status"] = server.process.wait(60)
        told["log"] = "".join(server.said)
    told["usage"] = json.loads(fjord(home, "usage", "--json").stdout)
    told["after"] = counters()
    try_to_leave()
    told["left"] = counters()
    sys.stdout.write(json.dumps(told) + "\n")


def with_another(text: str) -> str:
    """The bundle's registry and, beside its models, one whose weights are nowhere."""
    return text.replace("models:\n", f"models:\n{ABSENT}", 1)


def flags(home: Path) -> list[str]:
    return ["--offline", "--verify", "--registry", "own.yaml"]


def command() -> list[str]:
    log = os.environ.get("STRACE")
    if log is None:
        return FJORD
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-o", log, *FJORD]


def server_pid(server: Server) -> int:
    """strace hands no signal on."""
    process = psutil.Process(server.process.pid)
    return process.children()[0].pid if "STRACE" in os.environ else process.pid


def answers(server: Server) -> dict[str, Any]:
    url = server.url()
    server.until("Ready", within_s=120)
    key = server.key()
    body = {"messages": [{"role": "user", "content": "What is the capital of Norway?"}]}
    good = ask(url, key, model="mine", temperature=0, max_tokens=12, **body)
    refused = ask(url, key, model="absent", **body)
    return {
        "answer": good.json(),
        "refusal": {"status": refused.status_code, "said": refused.json()},
    }


def try_to_leave() -> None:
    """What the counters would show, had anybody tried: an address of the documentation's own."""
    with contextlib.suppress(OSError), socket.socket() as tried:
        tried.connect(("192.0.2.1", 80))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
