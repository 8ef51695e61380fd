"""`fjord models load|unload|sleep|pin|unpin` against a running server, as a person types them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import fjord_here as fjord
from tests.support.serve_process import Server, ask, serving_registry

pytestmark = pytest.mark.slow  # processes of their own

REGISTRY = """\
models:
  tiny: {source: echo, engine: scripted, context: 4K, output: 1K, load: start}
  closed: {source: two, engine: scripted, context: 4K, output: 1K, load: never, keep: 10m}
  faulty: {source: three, engine: scripted, context: 4K, output: 1K, args: {fail_load: no weights}}
  other: {source: echo, engine: scripted, context: 4K, output: 1K}
  sleepy: {source: five, engine: scripted, context: 4K, output: 1K, args: {can_sleep: true}}
  qwen3-235b-instruct: {source: four, engine: scripted, context: 4K, output: 1K, keep: pinned}
profiles:
  embedded: {}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_registry(tmp_path_factory.mktemp("operated"), REGISTRY) as server:
        yield server


def told(running: Server, *words: str) -> str:
    shown = fjord(running.home, "models", *words, "--port", running.port)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def row(running: Server, alias: str) -> list[str]:
    lines = told(running).splitlines()
    return next(line.split() for line in lines if line.startswith(f"{alias} "))


def test_who_may_read_the_data_directory_loads_and_unloads_without_a_key(running: Server) -> None:
    url = f"http://127.0.0.1:{running.port}"
    refused = ask(url, running.key(), model="closed")
    assert (refused.status_code, row(running, "closed")[1]) == (503, "closed")
    assert told(running, "load", "closed").splitlines()[-1] == "closed: ready"
    assert ask(url, running.key(), model="closed").status_code == 200
    assert row(running, "closed")[1] == "ready"
    assert told(running, "unload", "closed").splitlines()[-1] == "closed: closed"
    assert ask(url, running.key(), model="closed").status_code == 503


@pytest.mark.parametrize("command", ["unload", "load", "pin", "unpin"])
def test_who_shares_the_engine_is_told(running: Server, command: str) -> None:
    said = told(running, command, "other")
    assert said.startswith(f"other shares its engine with tiny: this {command} is theirs, too\n")
    assert json.loads(told(running, command, "tiny", "--json"))["shares_with"] == ["other"]


def test_a_model_sleeps_and_the_next_request_wakes_it(running: Server) -> None:
    url = f"http://127.0.0.1:{running.port}"
    told(running, "load", "sleepy")
    assert told(running, "sleep", "sleepy").splitlines()[-1] == "sleepy: sleeping 2"
    assert row(running, "sleepy")[1:3] == ["sleeping", "2"]
    assert ask(url, running.key(), model="sleepy").status_code == 200
    assert row(running, "sleepy")[1] == "ready"


def test_a_pin_shows_in_the_list(running: Server) -> None:
    assert told(running, "load", "tiny").splitlines()[-1] == "tiny: ready"
    assert told(running, "pin", "tiny").splitlines()[-1] == "tiny: ready, pinned"
    assert "pinned" in row(running, "tiny")
    assert told(running, "unpin", "tiny").splitlines()[-1] == "tiny: ready, not pinned"
    assert "pinned" not in row(running, "tiny")


def test_the_list_fits_80_columns_a_row_each(running: Server) -> None:
    shown = told(running)
    assert max(map(len, shown.splitlines())) <= 80
    assert re.search(r"^alias +state +memory +cards +runs +waits +use +keep", shown, re.M)
    assert re.search(r"^qwen3-235b-instruct +cold +\? +0 +0 +pinned", shown, re.M)
    listed = json.loads(told(running, "--json"))
    assert [model["keep"] for model in listed] == [None, "10m", None, None, None, "pinned"]
    assert {model["context_tokens"] for model in listed} == {4096}


def test_a_load_that_fails_says_why(running: Server) -> None:
    ended = fjord(running.home, "models", "load", "faulty", "--port", running.port)
    assert ended.returncode == 2
    assert ended.stderr == "fjord: faulty was not loaded: no weights\n"
    begun = told(running, "load", "faulty", "--no-wait")
    assert begun == "faulty: load begun; `fjord models` shows how far it is\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["load", "nope"], "Unknown model 'nope'; known: tiny, closed, faulty"),
        (["sleep", "faulty"], "only a loaded one can sleep"),
        (["sleep", "tiny"], "right would be `can_sleep: true` among its engine arguments"),
        (["load", "tiny", "--data-dir", "nowhere"], "does not take this for its operator: No API"),
        (["load", "tiny", "--data-dir", "nowhere", "--api-key", "x"], "operator: Unknown API key"),
        (["load", "tiny", "--url", "http://127.0.0.1:9"], "No Fjord server answers at http://127"),
    ],
)
def test_what_cannot_be_told_is_a_line(running: Server, words: list[str], said: str) -> None:
    where = [] if "--url" in words else ["--port", running.port]
    ended = fjord(running.home, "models", *words, *where)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr


def test_an_option_before_the_command_is_refused(tmp_path: Path) -> None:
    ended = fjord(tmp_path, "models", "--port", "1", "load", "tiny")
    assert ended.returncode == 2
    assert "--port stands after the command: fjord models load ALIAS --port" in ended.stderr


@pytest.mark.parametrize("command", ["load", "unload", "sleep", "pin", "unpin"])
def test_the_help_of_each_fits_80_columns(tmp_path: Path, command: str) -> None:
    shown = fjord(tmp_path, "models", command, "--help")
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= 80
    listed = fjord(tmp_path, "models", "--help").stdout
    assert re.search(rf"^  {command} .*\.$", listed, re.M)
    assert "..." not in listed.split("Commands:")[1].split("fjord")[0]
