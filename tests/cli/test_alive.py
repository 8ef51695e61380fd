"""An image's health check."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import made
from tests.support.serve_process import environment, serving, with_registry


def alive(home: Path, **variables: str) -> int:
    command = [sys.executable, "-P", "-m", "server.cli.alive"]
    return subprocess.run(command, cwd=home, env=environment(**variables), timeout=60).returncode


def test_where_no_server_is_none_lives(tmp_path: Path) -> None:
    assert alive(tmp_path, FJORD_PORT="9") == 1
    (tmp_path / "data").mkdir()
    for text in ("", "[]", '{"api": null}', '{"api": {"url": "http://127.0.0.1:9"}}', "\xff"):
        (tmp_path / "data/listening").write_text(text)
        assert alive(tmp_path, FJORD_PORT="9") == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_tls", [False, True])
def test_one_that_runs_lives_until_it_ends(tmp_path: Path, is_tls: bool) -> None:
    home = with_registry(tmp_path)
    cert, key = made().lie_at(home)
    flags = ("--tls-cert", str(cert), "--tls-key", str(key)) if is_tls else ()
    with serving(home, *flags) as server:
        server.until("Ready")
        assert alive(home) == 0
        (home / "data/listening").unlink()
        assert alive(home, FJORD_PORT=server.port) == (1 if is_tls else 0)
    assert alive(home, FJORD_PORT=server.port) == 1
