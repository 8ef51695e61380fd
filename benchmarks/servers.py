"""Starts a server as its users do, waits until it serves, and stops it with all its processes."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import litellm_proxy, rust_front
from benchmarks.models import Model
from benchmarks.processes import DidNotStart, free_port, stop, wait_until

ROOT = Path(__file__).resolve().parent.parent
ALIAS = "bench"

PREPARE_LEDGER = """
import pathlib, sys
try:
    from server.ledger.sqlite import prepared_ledger
except ImportError:  # an older version: its `keys create` makes the ledger
    sys.exit()
prepared_ledger(pathlib.Path(sys.argv[1]))
"""
"""Each version makes the ledger of its own schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way of serving: its name in the tables, and what is special about it."""

    name: str
    kind: str
    """fjord, vllm (its own server), rust (vLLM's front in Rust), litellm (its proxy before vLLM's
    own server) or offline (vLLM's LLM.generate)."""
    extra_args: Mapping[str, Any] = field(default_factory=dict)
    """Engine arguments beyond the model's."""
    checkout: Path = ROOT
    """Whose Fjord is served."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beyond what all sides have."""


FJORD = Side(name="fjord", kind="fjord")
VLLM = Side(name="vllm", kind="vllm")
FJORD_PER_TOKEN = Side(
    name="fjord, a token a chunk", kind="fjord", extra_args={"stream_interval": 1}
)
"""vLLM's own server as shipped already sends one token a chunk."""
FJORD_PUBLIC = Side(name="fjord, fast path off", kind="fjord", extra_args={"fastpath": False})
"""Every token goes vLLM's public way: what the fast path buys."""
SPINS_LESS = {"GOMP_SPINCOUNT": "5000"}
"""What Fjord gives the engine's threads on up to four cores, so that they leave the front one."""
VLLM_EVEN = Side(name="vllm, Fjord's threads", kind="vllm", environment=SPINS_LESS)
RUST = Side(name="vllm-rs", kind="rust")
RUST_EVEN = Side(name="vllm-rs, Fjord's threads", kind="rust", environment=SPINS_LESS)
"""Both send a token a chunk, as shipped."""
LITELLM = Side(name="LiteLLM before vllm", kind="litellm")
LITELLM_EVEN = Side(
    name="LiteLLM before vllm, Fjord's threads", kind="litellm", environment=SPINS_LESS
)
OFFLINE = Side(name="LLM.generate", kind="offline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server."""

    pid: int
    port: int
    headers: Mapping[str, str]
    health_s: float
    """From the start of the process to the first 200 of /health."""
    ready_s: float
    """... to the first moment at which it serves the model."""
    log: Path


@contextmanager
def serving(side: Side, model: Model, folder: Path, kept: Path | None = None) -> Iterator[Server]:
    """Serve `model` as ALIAS; its log and data lie under `folder`. `kept`: a data directory that is
    there already, and stays. Raises DidNotStart."""
    folder.mkdir(parents=True, exist_ok=True)
    port, environment = free_port(), _environment(side) | _rust(side, folder)
    data_dir = kept or Path(tempfile.mkdtemp(prefix="data-", dir=folder))
    log = folder / f"{side.kind}.log"
    headers: Mapping[str, str] = {}
    if side.kind == "fjord":
        headers = _key(side, data_dir)
    elif side.kind == "litellm":
        environment["LITELLM_KEY"] = key = litellm_proxy.new_key()
        headers = {"Authorization": f"Bearer {key}"}
    command = _command(side, model, port, data_dir, folder)
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env=environment,
            cwd=side.checkout,
            start_new_session=True,
        )
    try:
        alive = litellm_proxy.HEALTH if side.kind == "litellm" else "/health"
        health_s = wait_until(process, port, alive, began, log)
        path = "/ready" if side.kind == "fjord" else alive
        ready_s = wait_until(process, port, path, began, log)
        yield Server(
            pid=process.pid,
            port=port,
            headers=headers,
            health_s=health_s,
            ready_s=ready_s,
            log=log,
        )
    finally:
        stop(process)
        if kept is None:
            shutil.rmtree(data_dir, ignore_errors=True)


def _command(side: Side, model: Model, port: int, data_dir: Path, folder: Path) -> list[str]:
    """Raises DidNotStart where what it needs cannot be had."""
    if side.kind == "fjord":
        return _fjord(side, model, port, data_dir)
    if side.kind == "litellm":
        return _litellm(side, model, port, data_dir, folder)
    return _rust_front(side, model, port) if side.kind == "rust" else _vllm(side, model, port)


def _fjord(side: Side, model: Model, port: int, data_dir: Path) -> list[str]:
    command = [sys.executable, "-m", "server", "serve", "--engine", "vllm"]
    command += ["--port", str(port), "--data-dir", str(data_dir)]
    command += ["--model", f"{ALIAS}={model.folder}"]
    for name, value in {**model.engine_args, **side.extra_args}.items():
        command += ["--engine-arg", f"{name}={json.dumps(value)}"]
    return command


def _vllm(side: Side, model: Model, port: int) -> list[str]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(model.folder), "--served-model-name", ALIAS]
    return command + command_line({**model.engine_args, **side.extra_args})


def _litellm(side: Side, model: Model, port: int, data_dir: Path, folder: Path) -> list[str]:
    try:
        python = litellm_proxy.proxy_python(folder.resolve())
    except litellm_proxy.NoProxy as error:
        raise DidNotStart(str(error)) from error
    command = [sys.executable, "-m", "benchmarks.litellm_proxy", str(model.folder)]
    command += ["--alias", ALIAS, "--port", str(port), "--python", str(python)]
    command += ["--folder", str(data_dir)]
    return command + command_line({**model.engine_args, **side.extra_args})


def _rust_front(side: Side, model: Model, port: int) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.rust_front", "serve", str(model.folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", ALIAS]
    return command + command_line({**model.engine_args, **side.extra_args})


def _rust(side: Side, folder: Path) -> dict[str, str]:
    """Raises DidNotStart where the binary cannot be had."""
    if side.kind != "rust":
        return {}
    try:
        return rust_front.environment(rust_front.rust_front(folder.resolve()))
    except rust_front.NoRustFront as error:
        raise DidNotStart(str(error)) from error


def command_line(engine_args: Mapping[str, Any]) -> list[str]:
    """vLLM's own flags for engine arguments."""
    flags: list[str] = []
    for name, value in engine_args.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif value is False:
            flags.append(flag.replace("--", "--no-", 1))
        else:
            flags += [flag, value if isinstance(value, str) else json.dumps(value)]
    return flags


def engine_environment() -> dict[str, str]:
    """What touches the engine is the same on every side."""
    wanted = {
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Each has a data directory of its own: what vLLM knows of a model's class is found again.
        "VLLM_CACHE_ROOT": os.environ.get("VLLM_CACHE_ROOT", str(Path.home() / ".cache/vllm")),
    }
    if (os.cpu_count() or 1) <= 4:
        wanted["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return wanted


def another_version(checkout: Path) -> Side:
    """Fjord as it is in another checkout, with this one's packages."""
    return Side(name=f"fjord, {checkout.name}", kind="fjord", checkout=checkout.resolve())


def _environment(side: Side) -> dict[str, str]:
    """The benchmark's key is allowed all it asks for; limits are counted all the same."""
    limits = {
        "FJORD_REQUESTS_PER_MINUTE": "10000000",
        "FJORD_CONCURRENT": "100000",
        "FJORD_QUEUE_LIMIT": "100000",
    }
    paths = {"PYTHONPATH": str(side.checkout)}
    return {**os.environ, **engine_environment(), **limits, **paths, **side.environment}


def _key(side: Side, data_dir: Path) -> dict[str, str]:
    _in_checkout(side, "-c", PREPARE_LEDGER, str(data_dir))
    command = ["-m", "server", "keys", "create", "--name", "benchmark"]
    made = _in_checkout(side, *command, "--data-dir", str(data_dir), "--json")
    return {"X-API-Key": str(json.loads(made)["key"])}


def _in_checkout(side: Side, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=side.checkout,
        env=_environment(side),
    )
    return done.stdout
