"""Runs the load generator in a process of its own."""

import subprocess
import sys

import msgspec

from benchmarks.load import Load, Outcome
from benchmarks.servers import ROOT


class DidNotMeasure(Exception):
    """The generator failed, or ended without an outcome."""


def drive(load: Load) -> Outcome:
    """Send it all; returns when it is done. Raises DidNotMeasure."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    said = f"{len(done.stdout)} bytes, at last {done.stdout[-80:]!r}"
    if done.returncode:
        raise DidNotMeasure(f"the load generator ended with status {done.returncode}, {said}")
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError as error:
        raise DidNotMeasure(f"the load generator brought no outcome, {said}: {error}") from None
