"""The commands beside `serve`, and what they import."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command import Fjord
from tests.support.serve_process import (
    Server,
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


def test_models_tells_the_state_in_a_running_server(running: Server, fjord: Fjord) -> None:
    status, said, _ = fjord(
        "models", "--port", running.port, "--data-dir", str(running.home / "data")
    )
    assert status == 0
    assert re.search(r"tiny +ready +\? +0 +0 +echo", said)


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
