"""`fjord serve` begins, as a person runs it: real processes, ports and terminals."""

import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.command import Fjord
from tests.support.serve_process import (
    Server,
    ask,
    environment,
    serving,
    with_registry,
)

pytestmark = pytest.mark.slow  # processes of their own


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that only look at it; `until` has its lines up to Ready."""
    with serving(with_registry(tmp_path_factory.mktemp("running"))) as server:
        server.until("Ready")
        yield server


def test_a_second_server_on_the_same_data_is_refused(running: Server, fjord: Fjord) -> None:
    status, _, complaint = fjord("serve", "--data-dir", str(running.home / "data"))
    assert status == 2
    assert f"in use by another fjord server (process {running.process.pid})" in complaint


def test_a_port_in_use_is_one_line_before_anything_is_made(running: Server, fjord: Fjord) -> None:
    status, _, complaint = fjord("serve", "--port", running.port)
    assert status == 2
    assert complaint == (
        f"fjord: Port {running.port} on 127.0.0.1 is in use; choose another with --port.\n"
    )


@pytest.mark.alone
def test_health_answers_within_3_seconds_while_a_model_loads_and_ctrl_c_ends_the_load(
    home: Path,
) -> None:
    with_registry(home, load_s=60)
    with serving(home) as server:
        url = server.url()
        assert httpx.get(f"{url}/health").status_code == 200
        assert time.monotonic() - server.began < 3
        server.until("starting")
        ready = httpx.get(f"{url}/ready")
        assert (ready.status_code, ready.json()["engines"][0]["state"]) == (503, "starting")
        assert server.ends(signal.SIGINT, within_s=5) == 0


def test_at_a_terminal_the_first_key_is_shown_until_its_file_is_deleted(home: Path) -> None:
    kept = home / "data" / "first_key"
    with serving(home, at_terminal=True) as server:
        key = server.until(r"API key: (\S+)")[1]
        curl = server.until(r"^  (curl .*)$")[1]
        answer = subprocess.run(curl, shell=True, capture_output=True, timeout=30, check=True)
        said = json.loads(answer.stdout)["choices"][0]["message"]["content"]
        assert said == "What is the capital of Norway?"
        assert server.ends(signal.SIGINT) == 0
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert kept.read_text().strip() == key
    with serving(home, at_terminal=True) as server:
        assert server.until(r"API key: (\S+)")[1] == key
    kept.unlink()
    with serving(home, at_terminal=True) as server:
        server.until("fjord keys create")
        server.until("YOUR_KEY")
    assert not kept.exists()


@pytest.mark.parametrize("flags", [[], ["--log-format", "json"], ["--log-format", "text"]])
def test_a_log_never_holds_a_key(home: Path, flags: list[str]) -> None:
    for _ in range(2):  # a first start, and one that finds the key
        with serving(home, *flags) as server:
            server.until("key is kept in .*first_key")
            server.until("Ready")
            assert server.key() not in "".join(server.said)
    with serving(home, "--host", "0.0.0.0", *flags) as server:
        server.until("lies in the clear in .*first_key.*delete that file")
        server.until("Ready")
        assert server.key() not in "".join(server.said)


def test_json_that_is_asked_for_at_a_terminal_is_all_there_is(home: Path) -> None:
    with serving(home, "--log-format", "json", at_terminal=True) as server:
        server.until("Ready")
        lines = [json.loads(line) for line in server.said]
        assert server.key() not in "".join(server.said)
    assert {"fjord.start", "fjord.fleet"} == {line["logger"] for line in lines}


def test_a_server_for_others_shows_its_first_key_once_and_keeps_it_nowhere(home: Path) -> None:
    with serving(home, "--host", "0.0.0.0", at_terminal=True) as server:
        url = server.url()
        key = server.until(r"API key: (\S+)")[1]
        server.until("shown this once")
        server.until("Ready")
        assert ask(url, key).status_code == 200
    assert key.encode() not in b"".join(
        path.read_bytes() for path in (home / "data").rglob("*") if path.is_file()
    )


def test_a_server_for_others_without_a_terminal_makes_no_key(home: Path, fjord: Fjord) -> None:
    with serving(home, "--host", "0.0.0.0") as server:
        server.until("`fjord keys create` makes one")
        server.until("Ready")
    assert fjord("keys", "list", "--json")[1].strip() == "[]"


def test_the_start_says_which_names_are_one_model(home: Path) -> None:
    path = home / "model_registry.yaml"
    text = path.read_text()
    model = text.split("models:\n")[1].split("profiles:")[0]
    other = model.replace("tiny:", "huge:")
    path.write_text(text.replace(model, model + other))
    with serving(home) as server:
        server.until("echo answers under every one of these names")


RAW = """
import os, sys, threading, time
def write():
    while True:
        os.write(2, b"llama_decode: failed to find a slot\\n")
        time.sleep(0.05)
threading.Thread(target=write, daemon=True).start()
from server.cli.main import main
main()
"""


def test_what_a_library_writes_by_itself_is_json_in_a_json_log(home: Path) -> None:
    with serving(home, command=[sys.executable, "-P", "-c", RAW]) as server:
        server.until("Fjord at")
        server.until('"message": "llama_decode: failed to find a slot"')
        server.until("Ready")
        began = next(i for i, line in enumerate(server.said) if "Fjord at" in line)
        for line in server.said[began:]:
            assert json.loads(line)["message"]
        assert server.ends(signal.SIGTERM) == 0


def test_the_last_words_of_a_library_that_aborts_are_kept() -> None:
    code = """
import os
from server.cli.raw_lines import raw_lines_wrapped
with raw_lines_wrapped():
    os.write(2, b"GGML_ASSERT(n > 0) failed\\n\\xff half a line")
    os.abort()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, timeout=30
    )
    assert ended.returncode == -signal.SIGABRT
    first, second = (json.loads(line)["message"] for line in ended.stderr.splitlines())
    assert (first, second) == ("GGML_ASSERT(n > 0) failed", "\ufffd half a line")


def test_ones_own_model_is_served_without_the_registry_and_without_a_key(home: Path) -> None:
    (home / "model_registry.yaml").unlink()
    flags = ["--model", "mine=anything", "--engine", "scripted", "--engine-arg", "text=god dag"]
    with serving(home, *flags, "--engine-arg", "context_tokens=4096", "--no-auth") as server:
        url = server.url()
        server.until("No key is needed")
        server.until("Ready")
        answer = ask(url, model="mine").json()
        assert answer["choices"][0]["message"]["content"] == "god dag"
