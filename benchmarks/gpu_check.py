"""All that a GPU machine should prove, in one call of under 8 minutes.

python -m benchmarks.gpu_check               contract suite, two engines, memory, the table
python -m benchmarks.gpu_check --rehearse    the same on a CPU with the tiny model

Each phase is a process with a time limit: one that fails, hangs or crashes hinders no other. The
result is written after every phase to $OUT, where that is set, else to benchmarks/results/.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import gpu_phases
from benchmarks.gpu_phases import Failed, Setting
from benchmarks.machine import gpus, surroundings
from benchmarks.report import save, show
from benchmarks.servers import ROOT

BUDGET_S = 470.0
"""For all phases; the last one has what the others left."""
NO_CARD = "needs a CUDA device, and nvidia-smi names none"


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing to prove."""

    name: str
    limit_s: float
    run: Callable[[Setting], None]
    needs_cuda: bool = False


PHASES = (
    Phase("contract", 120.0, gpu_phases.contract),
    Phase("two-engines", 110.0, gpu_phases.two_engines, needs_cuda=True),
    Phase("memory", 60.0, gpu_phases.memory, needs_cuda=True),
    Phase("bench", BUDGET_S, gpu_phases.bench),
)
REHEARSED_LIMIT_S = 400.0


def main() -> None:
    given = _arguments()
    if given.phase:
        _as_phase(given)
        return
    document: dict[str, Any] = {**surroundings(), "rehearsal": given.rehearse, "phases": {}}
    name = given.name or f"gpu-{'rehearsal-' * given.rehearse}{document['date'][:10]}"
    ends = time.monotonic() + (REHEARSED_LIMIT_S * len(PHASES) if given.rehearse else BUDGET_S)
    for phase in PHASES:
        if not given.only or phase.name in given.only:
            found = _run(phase, given, ends - time.monotonic())
            document["phases"][phase.name] = found
            print(_line(phase.name, found), flush=True)
            _write(given.out / f"{name}.json", document)
    _publish(document, given.out, name)
    bad = [p for p in document["phases"].values() if p["state"] not in ("passed", "skipped")]
    sys.exit(1 if bad else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with the tiny model")
    parser.add_argument("--only", type=_names, help="these phases, for example memory,bench")
    parser.add_argument("--rounds", type=int, help="of the table, where time allows (default 3)")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    here = Path(os.environ.get("OUT", "benchmarks/results"))
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--name", help="of the result's files (default: gpu-<date>)")
    parser.add_argument("--phase", choices=[p.name for p in PHASES], help=argparse.SUPPRESS)
    parser.add_argument("--limit-s", type=float, default=BUDGET_S, help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names, known = text.split(","), [phase.name for phase in PHASES]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is no phase; right would be {', '.join(known)}"
        )
    return names


def _run(phase: Phase, given: argparse.Namespace, left_s: float) -> dict[str, Any]:
    """The phase in a process of its own: its state, and what it noted."""
    if phase.needs_cuda and (given.rehearse or not gpus()):
        return {"state": "skipped", "reason": "a rehearsal: " * given.rehearse + NO_CARD}
    limit_s = REHEARSED_LIMIT_S if given.rehearse else min(phase.limit_s, left_s)
    if limit_s < 10:
        return {"state": "skipped", "reason": f"no time was left of {BUDGET_S:g} s"}
    folder = given.data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _noted(folder, phase.name).unlink(missing_ok=True)
    log = folder / f"gpu-{phase.name}.log"
    print(f"{phase.name}: at most {limit_s:.0f} s, its log is {log}", flush=True)
    began = time.monotonic()
    state, reason = _ended(_command(phase, given, folder, limit_s), log, limit_s)
    found: dict[str, Any] = {"state": state, "wall_s": round(time.monotonic() - began, 1)}
    if state != "passed":
        found |= {"reason": reason, "log_end": log.read_bytes()[-4000:].decode(errors="replace")}
    with contextlib.suppress(OSError, ValueError):
        found |= json.loads(_noted(folder, phase.name).read_text())
    return found


def _command(phase: Phase, given: argparse.Namespace, folder: Path, limit_s: float) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--phase", phase.name]
    command += ["--data", str(folder), "--limit-s", str(limit_s - 5)]
    command += ["--rehearse"] * given.rehearse
    return command + (["--rounds", str(given.rounds)] if given.rounds else [])


def _ended(command: Sequence[str], log: Path, limit_s: float) -> tuple[str, str]:
    """Run it to its end, or for `limit_s`; nothing of it is left then."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return "cut off", f"not done after {limit_s:.0f} s"
        finally:
            _end_tree(process)
    return ("passed", "") if not process.returncode else ("failed", f"exit {process.returncode}")


def _end_tree(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        tree = [root, *root.children(recursive=True)]
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(tree, timeout=10)
    process.wait()


def _as_phase(given: argparse.Namespace) -> None:
    """This is the process of one phase."""
    [phase] = [phase for phase in PHASES if phase.name == given.phase]
    known: dict[str, Any] = {}

    def note(news: Mapping[str, Any]) -> None:
        known.update(news)
        _write(_noted(given.data, phase.name), known)

    setting = Setting(
        rehearse=given.rehearse,
        folder=given.data.resolve(),
        limit_s=given.limit_s,
        rounds=given.rounds or (1 if given.rehearse else 3),
        note=note,
    )
    try:
        phase.run(setting)
    except Failed as error:
        note({"reason": str(error)})
        sys.exit(f"{phase.name}: {error}")


def _noted(folder: Path, phase: str) -> Path:
    return folder / f"gpu-{phase}.json"


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all: a reader may come at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    half.write_text(json.dumps(document, indent=1, default=str) + "\n")
    half.replace(path)


def _line(name: str, found: Mapping[str, Any]) -> str:
    reason = f": {found['reason']}" if found.get("reason") else ""
    took = f" after {found['wall_s']} s" if "wall_s" in found else ""
    return f"{name}: {found['state']}{took}{reason}"


def _publish(document: Mapping[str, Any], folder: Path, name: str) -> None:
    """The table as every other result has it, where there is one."""
    table = document["phases"].get("bench", {})
    if table.get("medians"):
        whole = {**document, "medians": table["medians"], "targets": table["targets"]}
        show(whole)
        save(whole, folder, name)


if __name__ == "__main__":
    main()
