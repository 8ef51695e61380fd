"""Children that end with their parent do so frozen, too, where the parent is killed."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from engines.vllm.headless.part import COMMAND as PART
from tests.support.serving import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone wakes them")

PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""
JOB = """
import time
from engines.host.child_job import child_job
child_job(lambda words, progress: time.sleep(100))
"""


@pytest.mark.parametrize(
    "command",
    [
        PART,
        (sys.executable, "-m", "engines.vllm.ray.driver", "0"),
        (sys.executable, "-c", JOB),
    ],
    ids=["a part on a node", "a driver of Ray", "a job"],
)
def test_a_frozen_child_ends_with_a_parent_that_is_killed(command: tuple[str, ...]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as told:
        child = psutil.Process(int(told.readline()))
    try:
        wait_until(lambda: _reads_its_input(child), "it waits for what it is to do")
        child.suspend()
        parent.kill()
        parent.wait()
        assert not psutil.wait_procs([child], timeout=10)[1]
    finally:
        if child.is_running():
            child.kill()


def _reads_its_input(process: psutil.Process) -> bool:
    """By a thread's system call: `0 0x0`, read of descriptor 0."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/syscall")
    return any(task.read_text().startswith("0 0x0 ") for task in tasks)
