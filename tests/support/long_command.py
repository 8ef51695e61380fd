"""Runs a benchmark as its users do, within a limit."""

import os
import signal
import subprocess
import sys

import pytest

from benchmarks.servers import ROOT


def called(*command: str, limit_s: float, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process group of its own: past its limit it gets a Ctrl-C, which cleans up."""
    whole = [sys.executable, "-m", *command]
    process = subprocess.Popen(
        whole,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | environment,
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        pytest.fail(f"not done after {limit_s:g} s; it said:\n{said}")
    return subprocess.CompletedProcess(whole, process.returncode, said)
