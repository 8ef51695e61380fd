"""LiteLLM's proxy as a side of the bench: installed once, by its lock, or a line of failure."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import litellm_proxy
from benchmarks.litellm_proxy import LOCK, NoProxy, configuration, proxy_python
from benchmarks.processes import DidNotStart
from benchmarks.servers import LITELLM, serving


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What was run; all of it succeeds."""
    seen: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        seen.append(command)
        (tmp_path / "litellm").mkdir(exist_ok=True)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_it_is_installed_once_for_a_lock(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proxy_python(tmp_path) == proxy_python(tmp_path)
    assert [command[3] for command in commands] == ["venv", "pip"]
    assert commands[1][-3:] == ["--no-deps", "-r", str(LOCK)]
    other = tmp_path / "other.txt"
    other.write_text("litellm==0\n")
    monkeypatch.setattr(litellm_proxy, "LOCK", other)
    proxy_python(tmp_path)
    assert len(commands) == 4


def test_its_lock_pins_everything_by_its_hash() -> None:
    named = [line for line in LOCK.read_text().splitlines() if line[:1].isalnum()]
    assert any(line.startswith("litellm==") for line in named)
    assert all("==" in line for line in named)
    assert LOCK.read_text().count("--hash=sha256:") > len(named)


def test_it_knows_one_model_and_one_key() -> None:
    made = configuration("bench", 4711, "sk-1")
    [model] = made["model_list"]
    assert model["model_name"] == "bench"
    assert model["litellm_params"]["api_base"] == "http://127.0.0.1:4711/v1"
    assert made["general_settings"] == {"master_key": "sk-1"}


def test_without_an_index_the_side_is_a_line_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = tmp_path / "python"
    refuses.write_text("#!/bin/sh\necho looking >&2\necho 'error: no index' >&2\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(refuses))
    with pytest.raises(NoProxy, match="cannot be installed: error: no index"):
        proxy_python(tmp_path)
    model = None  # is not come to
    refused = pytest.raises(DidNotStart, match="LiteLLM cannot be installed: error: no index")
    with refused, serving(LITELLM, model, tmp_path / "data"):  # type: ignore[arg-type]
        pass
