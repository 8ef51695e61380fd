"""A folder of one's own with a registry, and commands run there."""

from pathlib import Path

import pytest

from tests.support.command import Fjord
from tests.support.serve_process import with_registry


@pytest.fixture
def fjord(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fjord:
    monkeypatch.chdir(home)
    return Fjord(capsys, monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_registry(tmp_path)
