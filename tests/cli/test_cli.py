"""`fjord …` as a person runs it: real processes, real ports, real signals."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from server.cli.main import main
from tests.support.paths import ROOT
from tests.support.serve_process import (
    ENDLESS,
    FJORD,
    Server,
    environment,
    serving,
    streaming,
    with_registry,
)

pytestmark = pytest.mark.slow  # processes of their own


class Fjord:
    """`fjord …` in this process: its exit status and what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, patch
        for name in [name for name in os.environ if name.startswith("FJORD_")]:
            patch.delenv(name)
        patch.setenv("FJORD_PORT", "0")
        patch.setenv("FJORD_PROFILE", "embedded")

    def __call__(self, *args: str) -> tuple[int, str, str]:
        self._patch.setattr(sys, "argv", ["fjord", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def fjord(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fjord:
    monkeypatch.chdir(home)
    return Fjord(capsys, monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_registry(tmp_path)


def ask(url: str, key: str | None = None, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/chat/completions",
        json={"model": "tiny", "messages": [{"role": "user", "content": "hei du"}], **body},
        headers={"X-API-Key": key} if key else {},
        timeout=30,
    )


# Starting


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that only look at it; `until` has its lines up to Ready."""
    with serving(with_registry(tmp_path_factory.mktemp("running"))) as server:
        server.until("Ready")
        yield server


def test_models_tells_the_state_in_a_running_server(running: Server, fjord: Fjord) -> None:
    status, said, _ = fjord(
        "models", "--port", running.port, "--data-dir", str(running.home / "data")
    )
    assert status == 0
    assert re.search(r"tiny +scripted +ready +4K +1K +echo", said)


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


# Refusing to start


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--registry", "nowhere.yaml"], r"nowhere\.yaml: cannot be read: No such file"),
        (["--profile", "embeded"], r"unknown profile 'embeded'; did you mean 'embedded'"),
        (["--data-dir", "/proc/nowhere"], r"/proc/nowhere cannot be written.*--data-dir"),
        (["--host", "0.0.0.0", "--no-auth"], r"--no-auth .* loopback only"),
        (["--host", "192.0.2.1"], r"192\.0\.2\.1 is no address of this machine"),
        (["--port", "99999"], r"--port 99999 is wrong"),
        (["--log-level", "loud"], r"--log-level 'loud' is wrong"),
        (["--model", "mine"], r"--model mine: right would be NAME=SOURCE"),
        (["--model", "mine=./nowhere"], r"--model mine=\./nowhere: .*nowhere is not there"),
        (["--engine-arg", "a=1"], r"--engine-arg is for the models of --model"),
    ],
)
def test_what_cannot_start_says_why_in_one_line_with_status_2(
    fjord: Fjord, flags: list[str], complaint: str
) -> None:
    status, _, said = fjord("serve", *flags)
    assert status == 2
    assert re.search(complaint, said), said
    assert len(said.splitlines()) == 1
    assert said.startswith("fjord: ")


def test_a_typo_in_the_registry_is_one_line_with_its_place(home: Path, fjord: Fjord) -> None:
    path = home / "model_registry.yaml"
    path.write_text(path.read_text().replace("preload:", "preloaded:"))
    status, _, complaint = fjord("serve")
    assert status == 2
    assert re.search(r"model_registry\.yaml:8: model 'tiny', key 'preloaded'", complaint)
    assert len(complaint.splitlines()) == 1


def test_two_typos_in_the_registry_are_two_lines(home: Path, fjord: Fjord) -> None:
    path = home / "model_registry.yaml"
    path.write_text(path.read_text().replace("preload:", "preloaded:").replace("4K", "4k"))
    status, _, complaint = fjord("serve")
    assert status == 2
    first, second = complaint.splitlines()
    assert re.match(r"fjord: .*\.yaml:6: model 'tiny', key 'context': '4k' is wrong", first)
    assert re.match(r"fjord: .*\.yaml:8: model 'tiny', key 'preloaded'", second)


def test_a_wrong_setting_is_told_in_plain_words(
    fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FJORD_QUEUE_LIMIT", "0")
    status, _, complaint = fjord("serve", "--port", "99999", "--log-level", "loud")
    assert (status, complaint) == (
        2,
        "fjord: --port 99999 is wrong: the most is 65535.\n"
        "fjord: FJORD_QUEUE_LIMIT '0' is wrong: the least is 1.\n"
        "fjord: --log-level 'loud' is wrong: "
        "right would be 'debug', 'info', 'warning' or 'error'.\n",
    )


@pytest.mark.parametrize("profiles", ["profiles: {mine: {}}", "profiles: {cuda: {}, b: {}}", ""])
def test_ones_own_registry_needs_no_profile_of_a_certain_name(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch, profiles: str
) -> None:
    path = home / "model_registry.yaml"
    path.write_text(path.read_text().split("profiles:")[0] + profiles)
    with serving(home, FJORD_PROFILE="") as server:
        server.until("Ready")


def test_the_documented_whole_file_starts_as_it_stands(home: Path) -> None:
    text = (ROOT / "docs/registry.md").read_text()
    whole = re.search(r"## A whole file\n\n```yaml\n(.*?)```", text, re.DOTALL)
    assert whole is not None
    (home / "model_registry.yaml").write_text(whole[1])
    with serving(home, "--no-auth", FJORD_PROFILE="") as server:
        url = server.url()
        server.until("Ready", within_s=60)
        assert ask(url, model="summariser", max_tokens=4).status_code == 200


def test_a_wrong_environment_variable_is_named_and_a_flag_beats_it(
    fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FJORD_PORT", "abc")
    status, _, complaint = fjord("serve")
    assert status == 2
    assert complaint.startswith("fjord: FJORD_PORT 'abc' is wrong")
    status, _, complaint = fjord("serve", "--port", "0", "--profile", "nonsense")
    assert "unknown profile 'nonsense'" in complaint


def test_a_refusal_is_no_traceback_in_a_process_of_its_own(home: Path) -> None:
    ended = subprocess.run(
        [*FJORD, "serve", "--no-auth", "--host", "::"],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1


# Ending


def test_sigterm_ends_an_idle_server_with_status_0_and_no_process_left(home: Path) -> None:
    with serving(home) as server:
        server.until("Ready")
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.ends(signal.SIGTERM, within_s=5) == 0
    assert not [child for child in children if child.is_running()]


def test_ctrl_c_ends_running_streams(home: Path) -> None:
    with_registry(home, token_delay_s=0.05)
    with serving(home, "--no-auth") as server:
        url = server.url()
        with streaming(url, **ENDLESS) as events:
            next(events)
            assert server.ends(signal.SIGINT, within_s=8) == 0


def test_sigterm_lets_a_running_stream_finish_and_refuses_new_work(home: Path) -> None:
    with_registry(home, token_delay_s=0.1, text="a b c d e f g h i j k l m n o p")
    with serving(home, "--no-auth") as server:
        url = server.url()
        with streaming(url) as events:
            next(events)
            server.process.send_signal(signal.SIGTERM)
            wait_for_drain(url)
            refused = ask(url)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SHUTTING_DOWN")
            *_, last, done = events
            assert json.loads(last[6:])["choices"][0]["finish_reason"] == "stop"
            assert done == "data: [DONE]"
        assert server.process.wait(10) == 0


def test_ctrl_c_hastens_a_drain(home: Path) -> None:
    with_registry(home, token_delay_s=0.1)
    with serving(home, "--no-auth") as server:
        url = server.url()
        with streaming(url, **ENDLESS) as events:
            next(events)
            server.process.send_signal(signal.SIGTERM)
            wait_for_drain(url)
            assert server.ends(signal.SIGINT, within_s=8) == 0


def test_a_thread_that_cannot_be_stopped_does_not_keep_the_process() -> None:
    """As a large model's load inside a library."""
    code = """
import threading
from server.cli.serve import leave_stuck_threads
threading.Thread(target=threading.Event().wait).start()
leave_stuck_threads(7)
"""
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), timeout=30)
    assert ended.returncode == 7


def wait_for_drain(url: str) -> None:
    for _ in range(500):
        if httpx.get(f"{url}/ready").json()["refusing"]:
            return
        time.sleep(0.01)
    raise AssertionError("it never drained")


# The other commands


def test_models_lists_aliases_with_weights_engine_and_limits(fjord: Fjord) -> None:
    _, said, _ = fjord("models", "--json", "--profile", "embedded")
    (row,) = json.loads(said)
    assert row == {
        "alias": "tiny",
        "weights": "echo",
        "engine": "scripted",
        "state": "not running",
        "context_tokens": 4096,
        "output_tokens": 1024,
        "preload": True,
    }


def test_prepare_makes_the_first_key_and_is_quiet_the_second_time(home: Path, fjord: Fjord) -> None:
    status, said, _ = fjord("prepare")
    key = (home / "data" / "first_key").read_text().strip()
    assert status == 0
    assert "data/first_key" in said
    assert key not in said  # no terminal
    assert fjord("prepare") == (0, "", "")


def test_prepare_keeps_no_key_for_a_server_that_others_reach(
    home: Path, fjord: Fjord, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fjord("prepare", "--host", "0.0.0.0") == (0, "", "")
    monkeypatch.setenv("FJORD_HOST", "::")
    assert fjord("prepare") == (0, "", "")
    assert not (home / "data" / "first_key").exists()
    assert fjord("keys", "list", "--json")[1].strip() == "[]"


def test_help_names_every_command(fjord: Fjord) -> None:
    _, said, _ = fjord("--help")
    for command in ("serve", "models", "keys", "prepare"):
        assert command in said


def test_serving_imports_no_engine_library() -> None:
    """vLLM and torch take seconds to import; an engine that starts imports its own."""
    heavy = "{'vllm', 'torch', 'transformers', 'xllamacpp', 'reportlab', 'psycopg', 'pyarrow'}"
    code = f"import sys, server.cli.main, server.cli.serve; print({heavy} & set(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "set()"
