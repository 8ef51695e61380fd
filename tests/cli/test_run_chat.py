"""`fjord run`: a chat in the terminal against a real server on the scripted engine."""

import contextlib
import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from engines.base import Reasoning
from server.cli.chat.chat import run_chat
from server.cli.chat.client import ChatClient, ChatFailed, ModelPrice
from server.cli.chat.own_server import is_up, own_server
from tests.support.paths import ROOT
from tests.support.serve_process import with_registry
from tests.support.serving import Served, scripted, server_of

SLOW = "one two three four five six seven eight nine ten " * 40
RUDE = "a\x1b[2J \x1b]52;c;eA==\x07 b\x9b31m\r\n 👨‍👩‍👧‍👦\tend"
POLITE = "a\ufffd[2J \ufffd]52;c;eA==\ufffd b\ufffd31m\n 👨‍👩‍👧‍👦"

served = server_of(
    scripted(),
    scripted("slow", text=SLOW, token_delay_s=0.02),
    scripted("thinker", text="Oslo", reasoning_text="hmm well", reasoning=Reasoning()),
    scripted("rude", text=RUDE, reasoning_text=RUDE, reasoning=Reasoning()),
    rates={"EUR": 87_000},
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def typing(*lines: str) -> Callable[[str], str]:
    """An input that says these lines and then ends."""
    rest = iter(lines)

    def read(_: str) -> str:
        try:
            return next(rest)
        except StopIteration:
            raise EOFError from None

    return read


def chat(served: Served, *lines: str, model: str | None = "mixtral-8x7b") -> str:
    screen = io.StringIO()
    status = run_chat(
        served.url,
        served.key,
        model,
        stdout=screen,
        read=typing(*lines),
    )
    assert status == 0
    return screen.getvalue()


def test_a_pipe_gets_the_answer_and_nothing_else(served: Served) -> None:
    out = io.StringIO()
    status = run_chat(
        served.url, served.key, "mixtral-8x7b", stdin=io.StringIO("hi there\n"), stdout=out
    )
    assert (status, out.getvalue()) == (0, "hi there\n")


def test_a_chat_shows_answer_tokens_and_cost(served: Served) -> None:
    screen = chat(served, "hello world")
    assert "hello world\n" in screen
    assert "3 + 3 tokens" in screen
    assert "0.000048 NOK" in screen  # 3 x 4 and 3 x 12 micro-units


def test_the_cost_is_in_the_keys_currency_at_the_prices_of_the_server_that_answers(
    served: Served,
) -> None:
    text = served.new_key(currency="EUR")
    with contextlib.closing(ChatClient(served.url, text)) as client:
        price = client.price("mixtral-8x7b")
        assert client.price("slow") == price
        assert client.price("nobody's") is None
    assert price == ModelPrice("EUR", input=348_000, cached_input=87_000, output=1_044_000)
    assert price.cost(1_000_000, 250_000, 500_000) == "0.804750 EUR"


def test_the_model_sees_the_conversation_until_it_is_cleared(served: Served) -> None:
    first, second = (int(p) for p in _prompt_tokens(chat(served, "one two", "three")))
    assert second > first
    first, again = (int(p) for p in _prompt_tokens(chat(served, "one two", "/clear", "one two")))
    assert first == again


def test_a_system_prompt_is_sent_and_taken_away(served: Served) -> None:
    screen = chat(served, "one", "/system Be brief please", "/clear", "one", "/system -")
    plain, longer = (int(p) for p in _prompt_tokens(screen))
    assert longer > plain
    assert "system: none" in screen


def test_commands_answer_and_unknown_ones_are_told(served: Served) -> None:
    screen = chat(
        served, "/model", "/model nope", "/model thinker", "/help", "/dance", "/exit", "x"
    )
    assert "* mixtral-8x7b" in screen
    assert "no model 'nope'" in screen
    assert "now thinker" in screen
    assert "/clear" in screen
    assert "/dance is no command" in screen
    assert "tokens" not in screen  # nothing was asked after /exit


def test_reasoning_is_shown_apart_from_the_answer(served: Served) -> None:
    screen = chat(served, "capital?", model="thinker")
    assert "hmm well\n\nOslo\n" in screen


@pytest.mark.parametrize(
    ("key", "model", "complaint"),
    [("wrong", None, "401"), (None, "nope", "There is no model 'nope'; there are mixtral-8x7b")],
)
def test_an_error_is_one_line_and_a_status(
    served: Served,
    key: str | None,
    model: str | None,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = run_chat(served.url, key or served.key, model, stdin=io.StringIO("x"))
    said = capsys.readouterr()
    assert status == 1
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_server_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_chat("http://127.0.0.1:9", stdin=io.StringIO("x")) == 1
    assert "Is the server running?" in capsys.readouterr().err
    assert not is_up("http://127.0.0.1:9")


class Child:
    """The chat as a process at a terminal of its own."""

    def __init__(self, served: Served, *arguments: str) -> None:
        code = "from server.cli.chat.chat import run_chat; sys.exit(run_chat(*sys.argv[1:]))"
        ours, theirs = pty.openpty()
        self._fd = ours
        self._seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import sys; {code}", served.url, served.key, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"},
            preexec_fn=_own_terminal,
        )
        os.close(theirs)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, words: str, timeout_s: float = 20.0) -> str:
        """Everything seen up to `words`, which is then forgotten."""
        end = time.monotonic() + timeout_s
        while words not in self._seen:
            left = end - time.monotonic()
            assert left > 0, f"{words!r} was not shown: {self._seen!r}"
            if select.select([self._fd], [], [], left)[0]:
                self._seen += os.read(self._fd, 65536).decode(errors="replace")
                if "\x1b[6n" in self._seen:  # prompt_toolkit asks where the cursor is
                    self._seen = self._seen.replace("\x1b[6n", "")
                    self.type("\x1b[1;1R")
        before, _, self._seen = self._seen.partition(words)
        return before

    def status(self) -> int:
        status = self.process.wait(30)
        os.close(self._fd)
        return status


def _own_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_ctrl_c_stops_an_answer_then_the_chat(served: Served) -> None:
    child = Child(served, "slow")
    child.expect(">")
    child.type("go\r")
    child.expect("three four")
    child.type("\x03")
    child.expect("stopped")
    child.expect(">")
    child.type("\x03")
    assert child.status() == 130
    ended = _last_record_end(served)
    assert ended == "client_left"


def test_ctrl_d_leaves_and_no_color_is_kept(served: Served) -> None:
    child = Child(served, "thinker")
    child.expect(">")
    child.type("first\x0asecond\r")
    shown = child.expect("tok")
    assert "\x1b[31m" not in shown
    assert "\x1b[9" not in shown
    child.expect(">")
    child.type("\x04")
    assert child.status() == 0


def test_a_terminated_chat_ends_at_once(served: Served) -> None:
    child = Child(served, "slow")
    child.expect(">")
    child.process.send_signal(signal.SIGTERM)
    assert child.status() == -signal.SIGTERM


@pytest.mark.slow
def test_a_chat_without_a_server_starts_one_and_ends_it(tmp_path: Path) -> None:
    arguments = ["--engine", "llamacpp", "--data-dir", str(tmp_path)]
    with own_server(arguments, timeout_s=60) as url:
        assert is_up(url)
        out = io.StringIO()
        asked = io.StringIO("What is the capital of Norway?")
        assert run_chat(url, None, stdin=asked, stdout=out) == 0
        assert out.getvalue().strip()
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{url}/health")


@pytest.mark.slow
def test_its_own_server_is_for_this_chat_alone_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = with_registry(tmp_path)
    for name in ("HOST", "UDS", "TLS_CERT", "TLS_KEY", "OPS_PORT", "OPS_HOST"):
        monkeypatch.setenv(f"FJORD_{name}", "0.0.0.0")
    monkeypatch.setenv("FJORD_PROFILE", "embedded")
    registry = str(home / "model_registry.yaml")
    with own_server(["--registry", registry, "--data-dir", str(home / "data")]) as url:
        assert is_up(url)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    arguments = ["--registry", str(tmp_path / "none.yaml"), "--data-dir", str(tmp_path)]
    with pytest.raises(ChatFailed, match=r"did not start: .*none\.yaml"), own_server(arguments):
        pass


def _prompt_tokens(screen: str) -> list[str]:
    return [line.split(" + ")[0] for line in screen.splitlines() if " tokens" in line]


def _last_record_end(served: Served) -> str:
    from tests.support.serving import read_records, wait_until

    wait_until(lambda: any(r["alias"] == "slow" for r in read_records(served.data_dir)), "a record")
    return str([r for r in read_records(served.data_dir) if r["alias"] == "slow"][-1]["end"])


def test_an_answers_control_characters_do_not_reach_the_terminal(served: Served) -> None:
    shown = chat(served, "hello", model="rude")
    assert "\x1b]" not in shown
    assert "\x9b" not in shown
    assert shown.count(POLITE) == 2  # the thought, too


@pytest.mark.parametrize(
    ("sink", "shown"), [(Terminal(), POLITE), (io.StringIO(), RUDE)], ids=["terminal", "pipe"]
)
def test_one_answer_is_as_it_is_in_a_pipe_alone(
    served: Served, sink: io.StringIO, shown: str
) -> None:
    status = run_chat(served.url, served.key, "rude", "hi", stdin=Terminal(), stdout=sink)
    assert status == 0
    assert shown in sink.getvalue()
