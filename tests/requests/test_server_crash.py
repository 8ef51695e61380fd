"""`kill -9` on a serving process under load: no answer whose end was seen is without its record.

FJORD_TEST_KILLS=30 asks for more rounds than the suite has time for.
"""

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support.crowd import CLIENTS, REGISTRY, Crowd, asking, checked, server_process, url_of
from tests.support.serving import make_key, wait_until

ROUNDS = int(os.environ.get("FJORD_TEST_KILLS", "4"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_kill_of_the_server_loses_or_doubles_a_record(tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    key = make_key(tmp_path / "data")
    drawn, crowds, lost = random.Random(9), list[Crowd](), 0
    for number in range(ROUNDS + 1):
        with server_process(tmp_path) as process:
            url = url_of(process, tmp_path / "log")
            lost, before = checked(tmp_path / "data", crowds), lost
            assert lost > before or not crowds, "nothing was in flight when it was killed"
            if number < ROUNDS:
                crowds.append(Crowd(url, key, f"r{number}"))
                load_and_kill(process, crowds[-1], drawn.randrange(1, 15 * CLIENTS))


def load_and_kill(process: "subprocess.Popen[bytes]", crowd: Crowd, answers: int) -> None:
    """Kill once so many answers were seen; ends when every client has noticed."""
    with asking(crowd):
        try:
            wait_until(lambda: len(crowd.ended) >= answers, "answers come", 30)
        finally:
            process.kill()
