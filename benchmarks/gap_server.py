"""A real `fjord serve` whose event loop is watched, and streams that never end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.gap_streams import Crowd
from benchmarks.hostile_body import ALIAS
from benchmarks.models import make_model
from benchmarks.servers import ROOT, engine_environment
from benchmarks.soak import wait_until_ready
from benchmarks.tiny_gguf import make_gguf
from engines.weights.packaged_model import gguf_path
from server.ledger.sqlite import prepared_ledger

STREAMS = 64
MORE_SLOTS = 16
"""Of llama.cpp, for those that are no streams."""
TOKEN_DELAY_S = 0.02
LIMITS = {
    "FJORD_REQUESTS_PER_MINUTE": "10000000",
    "FJORD_CONCURRENT": "100000",
    "FJORD_QUEUE_LIMIT": "100000",
}
MODEL = f"""\
models:
  {ALIAS}:
    source: %s
    engine: %s
    args: %s
    context: %s
    output: 4K
    preload: true
%s
profiles:
  embedded: {{}}
"""
BODY = json.dumps(
    {
        "model": ALIAS,
        "messages": [{"role": "user", "content": "on and on"}],
        "max_tokens": 400,
        "ignore_eos": True,
        "stream": True,
    }
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What an engine is given."""

    context: str
    """Of a request, as the registry has it."""
    model: str = "tiny"
    """Of vLLM: its name in benchmarks/models.py."""
    cells: int = 65_536
    """Of llama.cpp's cache, for all sequences together."""


SIZES = {"scripted": Sizes("32K"), "llamacpp": Sizes("32K"), "vllm": Sizes("8K")}


@contextmanager
def serving(
    engine: str,
    folder: Path,
    streams: int = STREAMS,
    others: str = "",
    *,
    sizes: Sizes | None = None,
    least_s: float = 0.010,
) -> Iterator[tuple[int, dict[str, str]]]:
    """A server and its streams: the port, and a good key's header. `others`: lines of the registry,
    models beside the one that the streams are of. Gaps over `least_s` are written."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    (folder / "registry.yaml").write_text(_registry(engine, folder, others, sizes or SIZES[engine]))
    data = ["--data-dir", str(folder / "data")]
    prepared_ledger(folder / "data")
    make = [sys.executable, "-m", "server", "keys", "create", "--name", "gaps", "--json", *data]
    made = subprocess.run(make, check=True, capture_output=True, cwd=ROOT)
    headers = {"X-API-Key": str(json.loads(made.stdout)["key"])}
    serve = [sys.executable, "-m", "benchmarks.loop_probe", str(folder / "lateness"), "serve"]
    serve += ["--registry", str(folder / "registry.yaml"), "--profile", "embedded"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*serve, "--port", str(port), *data],
            env={**os.environ, **engine_environment(), **LIMITS},
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        wait_until_ready(server, port)
        crowd = Crowd(
            port=port,
            headers=headers,
            streams=streams,
            body=BODY,
            file=str(folder / "gaps"),
            least_s=least_s,
        )
        with _streams(crowd):
            yield port, headers
    except BaseException:
        print((folder / "log").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        server.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.wait(60)
        server.kill()


@contextmanager
def _streams(crowd: Crowd) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.gap_streams"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(msgspec.json.encode(crowd))
    try:
        yield
        if process.poll() is not None:
            raise SystemExit("The streams ended.")
    finally:
        process.kill()
        process.wait()


def _registry(engine: str, folder: Path, others: str, sizes: Sizes) -> str:
    match engine:
        case "scripted":
            args = {"text": "the boats come home ", "token_delay_s": TOKEN_DELAY_S}
            return MODEL % ("nowhere", engine, json.dumps(args), sizes.context, others)
        case "llamacpp":
            path = make_gguf(gguf_path(), folder / "tiny.gguf")
            threads = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1}
            room = {"n_ctx": sizes.cells, "n_parallel": STREAMS + MORE_SLOTS}
            return MODEL % (path, engine, json.dumps(threads | room), sizes.context, others)
    model = make_model(sizes.model, folder)
    arguments = json.dumps(dict(model.engine_args))
    return MODEL % (model.folder, engine, arguments, sizes.context, others)
