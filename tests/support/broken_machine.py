"""A machine on which many things are broken at once, for `fjord doctor`; and what it found."""

import hashlib
import os
import resource
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.testing.tiny import make_llama
from engines.weights.manifest import StoredFile, WeightsManifest, write_manifest
from server.cli.doctor.diagnosis import diagnoses
from server.settings import Settings
from tests.support.certificates import made
from tests.support.serve_process import FJORD, environment

LAST_YEAR_S = 1_764_547_200
"""2025-12-01: before this version was made."""
CLOCK = f"import time\ntime.time = lambda: {LAST_YEAR_S}.0\n"
REGISTRY = """\
models:
  own:
    source: {own}
    engine: vllm
    context: 4K
    output: 1K
    preload: true
  huge:
    source: meta-llama/Llama-3.1-405B-Instruct-FP8
    revision: main
    engine: vllm
    args: {{allow_deprecated_quantization: true}}
    context: 4K
    output: 1K
profiles:
  embedded: {{}}
"""
MOUNTS = """\
mount -t tmpfs -o size=16m none /dev/shm
mount -t tmpfs -o size=1m none "$1"
mkdir "$1/data" && printf 'SQLite format 3\\0%9000s' x > "$1/data/ledger.sqlite3"
dd if=/dev/zero of="$1/filler" bs=4k 2>/dev/null
shift
exec "$@"
"""


def found(check: Any, **settings: Any) -> dict[str, tuple[str, str]]:
    """(state, words with the remedy) by name."""
    told = diagnoses([("check", check)], Settings(**settings))
    return {each.name: (each.state, f"{each.words}; {each.remedy}") for each in told}


def flip_a_bit(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[-1] ^= 1
    path.write_bytes(held)


def nvidia_smi(folder: Path, driver: str, cards: int = 1) -> None:
    """One that knows this driver and so many cards."""
    rows = "\n".join(f"{n}, GPU-{n}, NVIDIA H100, 81559" for n in range(cards))
    path = folder / "nvidia-smi"
    path.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f"*driver_version*) echo '{driver}';;\n*) printf '%s\\n' '{rows}';;\nesac\n"
    )
    path.chmod(0o755)


def kept_weights(folder: Path) -> Path:
    """A tiny model as `fjord weights` leaves one: with the manifest that its bytes are held to."""
    make_llama(folder)
    path = folder / "model.safetensors"
    known = StoredFile(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    files = {path.name: known}
    write_manifest(folder, WeightsManifest(source="o/n", commit="c", licence=None, files=files))
    return path


@dataclass
class BrokenMachine:
    """`doctor` runs there: in a mount namespace, with a clock, a PATH and limits of its own."""

    home: Path
    taken: int
    """A port of somebody else's, ..."""
    also_taken: int
    """... and another."""
    flags: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        flip_a_bit(kept_weights(self.home / "own"))
        (self.home / "model_registry.yaml").write_text(REGISTRY.format(own="./own"))
        for name in ("tools", "clock", "small"):
            (self.home / name).mkdir()
        nvidia_smi(self.home / "tools", "535.104.05")
        (self.home / "clock" / "sitecustomize.py").write_text(CLOCK)
        cert, key = made(first_day=-900, last_day=-600).lie_at(self.home)
        self.flags = ["--data-dir", "small/data", "--port", str(self.taken)]
        self.flags += ["--uds", f"{self.home}/{'long/' * 30}s", "--ops-port", str(self.also_taken)]
        self.flags += ["--tls-cert", str(cert), "--tls-key", str(key)]
        self.flags += ["--ledger-url", "postgresql://fjord:secret@127.0.0.1:1/site"]

    def doctor(self, *more: str) -> "subprocess.CompletedProcess[str]":
        around = environment(
            PATH=f"{self.home}/tools:{os.environ['PATH']}",
            PYTHONPATH=f"{self.home}/clock:{environment()['PYTHONPATH']}",
            COLUMNS="80",
        )
        apart = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
        inside = ["sh", "-c", MOUNTS, "sh", str(self.home / "small")]
        return subprocess.run(
            [*apart, *inside, *FJORD, "doctor", *self.flags, *more],
            cwd=self.home,
            env=around,
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512)),
        )


def why_not() -> str | None:
    """Why no such machine can be made here; None: it can."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "MOUNT NAMESPACES ARE NOT TO BE HAD HERE: `fjord doctor` met no broken machine"
    apart = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
    trial = [*apart, "mount", "-t", "tmpfs", "none", "/dev/shm"]
    if subprocess.run(trial, capture_output=True).returncode != 0:
        return "NO MOUNT NAMESPACE CAN BE MADE HERE: `fjord doctor` met no broken machine"
    return None


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))
