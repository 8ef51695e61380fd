"""Slurm with one node on this machine, its own programs where they are installed; and stand-ins for
the commands that deploy/slurm/fjord.sbatch calls."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.paths import ROOT
from tests.support.serve_process import environment
from tests.support.serving import wait_until

SCRIPT = ROOT / "deploy/slurm/fjord.sbatch"
DAEMONS = ("munged", "slurmctld", "slurmd")
RUN_S = 30
PLACES = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=1500 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    folder: Path

    def __call__(self, *words: str, **variables: str) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment(SLURM_CONF=str(self.folder / "slurm.conf"), **variables),
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def state(self, job: str) -> str:
        [shown] = [w for w in self("scontrol", "show", "job", job).split() if "JobState=" in w]
        return shown.partition("=")[2]


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Skips the test where it is not installed, or not root's to start."""
    missing = [name for name in DAEMONS if shutil.which(name, path=PLACES) is None]
    if missing or os.geteuid() != 0:
        pytest.skip("Slurm (slurm-wlm, munge) is not installed here, or the tests are not root's")
    (folder / "munge").mkdir(mode=0o700)
    (folder / "munge/key").write_bytes(os.urandom(1024))
    (folder / "munge/key").chmod(0o400)
    (folder / "spool").mkdir()
    ports = [_free_port(), _free_port()]
    config = _CONFIG.format(host=socket.gethostname().split(".")[0], folder=folder, ports=ports)
    (folder / "slurm.conf").write_text(config)
    munge = {f"--{name}-file={folder}/munge/{name}" for name in ("key", "pid", "log", "seed")}
    started = []
    try:
        options = ["-F", "--force", f"--socket={folder}/munge/socket", *munge]
        started.append(_daemon(folder, "munged", *options))
        wait_until((folder / "munge/socket").exists, "munged listens")
        started.append(_daemon(folder, "slurmctld", "-D"))
        started.append(_daemon(folder, "slurmd", "-D"))
        found = Slurm(folder)
        wait_until(lambda: _is_idle(found), "a node that is idle")
        yield found
    finally:
        for each in reversed(started):
            _end(each)


def _is_idle(found: Slurm) -> bool:
    try:
        return found("sinfo", "--noheader", "--format=%T") == "idle"
    except AssertionError:
        return False


def _daemon(folder: Path, name: str, *options: str) -> "subprocess.Popen[bytes]":
    program = shutil.which(name, path=PLACES)
    assert program is not None
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [program, *options],
            env={**os.environ, "SLURM_CONF": str(folder / "slurm.conf")},
            stdout=log,
            stderr=log,
        )


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    """With what it started: slurmd's steps outlive it."""
    children = psutil.Process(daemon.pid).children(recursive=True) if daemon.poll() is None else []
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(RUN_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def stand_ins(folder: Path, **answers: str) -> Mapping[str, str]:
    """The environment of a job whose commands are in `folder`: srun runs what it is given, the
    others note their words in `said` and answer with `answers`."""
    folder.mkdir()
    srun = 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
    said = f'echo "$(basename "$0") $*" >>"{folder}/said"\n'
    for name in ("srun", "scontrol", "squeue", "scancel"):
        path = folder / name
        body = srun if name == "srun" else f"{said}printf '%s\\n' '{answers.get(name, '')}'\n"
        path.write_text(f"#!/bin/sh\n{body}")
        path.chmod(0o755)
    places = f"{folder}{os.pathsep}{os.environ['PATH']}"
    own = {"FJORD": str(fjord_in(folder)), "PATH": places}
    return {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "fjord", **own}


def fjord_in(folder: Path) -> Path:
    """The command, as an installation has it."""
    program = folder / "fjord"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m server "$@"\n')
    program.chmod(0o755)
    return program
