"""`fjord keys …` in this process."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from server.cli.keys import app


def keys(data_dir: Path, *arguments: str) -> Any:
    """What the command answers with --json."""
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(data_dir), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(data_dir: Path, *arguments: str) -> str:
    """What the command says on its way out with status 2."""
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(data_dir)])
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    return done.stderr
