"""All that a GPU machine should prove, in two calls of under 8 minutes.

python -m benchmarks.gpu_check --without bench   what must hold, a phase each
python -m benchmarks.gpu_check --only bench      the table: Fjord, vLLM's own server, LLM.generate
python -m benchmarks.gpu_check --rehearse        all of it on a CPU with tiny models

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

from benchmarks.gpu.adapters import adapters
from benchmarks.gpu.cache_types import cache_types
from benchmarks.gpu.contract import contract
from benchmarks.gpu.drafts import drafts
from benchmarks.gpu.forms import forms
from benchmarks.gpu.graphs import graphs
from benchmarks.gpu.lanes import lanes
from benchmarks.gpu.memory import memory
from benchmarks.gpu.parallel import parallel
from benchmarks.gpu.setting import Failed, Setting, Skipped
from benchmarks.gpu.sleeping import sleep
from benchmarks.gpu.swaps import swaps
from benchmarks.gpu.table import bench
from benchmarks.machine import gpus, surroundings
from benchmarks.report import save, show
from benchmarks.servers import ROOT

BUDGET_S = 470.0
"""For all phases of a call; the last one has what the others left."""
SKIPPED_STATUS = 77
"""A phase's exit status where this machine cannot run it."""
NO_CARD = "needs a CUDA device, and nvidia-smi names none; right would be --rehearse"


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing to prove."""

    name: str
    limit_s: float
    run: Callable[[Setting], None]


PHASES = (
    Phase("contract", 120.0, contract),
    Phase("memory", 90.0, memory),
    Phase("lanes", 110.0, lanes),
    Phase("sleep", 90.0, sleep),
    Phase("swaps", 180.0, swaps),
    Phase("forms", 110.0, forms),
    Phase("drafts", 110.0, drafts),
    Phase("adapters", 80.0, adapters),
    Phase("fp8-kv", 110.0, cache_types),
    Phase("graphs", 150.0, graphs),
    Phase("parallel", 150.0, parallel),
    Phase("bench", BUDGET_S, bench),
)
NAMES = tuple(phase.name for phase in PHASES)
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
        if phase.name in (given.only or NAMES) and phase.name not in given.without:
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
    parser.add_argument("--without", type=_names, default=(), help="all but these phases")
    parser.add_argument("--rounds", type=int, help="of the table, where time allows (default 3)")
    parser.add_argument("--data", type=Path, default=Path("data/benchmarks"), help="models, logs")
    here = Path(os.environ.get("OUT", "benchmarks/results"))
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--name", help="of the result's files (default: gpu-<date>)")
    parser.add_argument("--phase", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--limit-s", type=float, default=BUDGET_S, help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is no phase; right would be {', '.join(NAMES)}"
        )
    return names


def _run(phase: Phase, given: argparse.Namespace, left_s: float) -> dict[str, Any]:
    """The phase in a process of its own: its state, and what it noted."""
    if not given.rehearse and not gpus():
        return {"state": "skipped", "reason": NO_CARD}
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
    if state not in ("passed", "skipped"):
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
    if process.returncode == SKIPPED_STATUS:
        return "skipped", ""
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
    except Skipped as error:
        note({"reason": str(error)})
        sys.exit(SKIPPED_STATUS)
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
