"""Runs the load generator in a process of its own."""

import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks.load import Load, Outcome

ROOT = Path(__file__).resolve().parent.parent


class DidNotMeasure(Exception):
    """The generator ended without an outcome."""


def drive(load: Load) -> Outcome:
    """Send it all; returns when it is done. Raises DidNotMeasure."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError as error:
        said = f"{len(done.stdout)} bytes, at last {done.stdout[-80:]!r}"
        message = f"the load generator ended with {done.returncode}, {said}: {error}"
        raise DidNotMeasure(message) from None
