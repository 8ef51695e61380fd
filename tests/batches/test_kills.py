"""`kill -9` at random moments doubles and loses nothing (benchmarks/batch_kills.py: more lines)."""

from pathlib import Path

import pytest

from benchmarks.batch_kills import measured


@pytest.mark.slow
def test_a_killed_server_answers_and_records_each_line_once(tmp_path: Path) -> None:
    outcome = measured(tmp_path, lines=2_000, kills=3, seed=7)
    assert outcome.kills == 3
    assert outcome.is_exact, outcome
