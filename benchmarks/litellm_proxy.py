r"""LiteLLM's proxy before vLLM's own server: what many put there for keys and accounting.

    python -m benchmarks.litellm_proxy MODEL_FOLDER --alias A --port P --python PYTHON --folder F \
        FLAGS OF VLLM

It has a master key alone: its keys and spend need PostgreSQL through Prisma, whose query engine no
package brings (it is fetched from Prisma's own host). So this is less than what Fjord does.
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from benchmarks.processes import free_port, status

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "bench-litellm.txt"
HEALTH = "/health/liveliness"
READY_S = 300.0
INSTALL_S = 900


class NoProxy(Exception):
    """It cannot be had here; with the reason."""


def proxy_python(folder: Path) -> Path:
    """The Python of an environment of its own under `folder` that has it; made where it is not
    there yet (600 MB). Raises NoProxy."""
    home, mark = folder / "litellm", folder / "litellm" / ".lock"
    python = home / "bin" / "python"
    if mark.exists() and mark.read_bytes() == LOCK.read_bytes():
        return python
    _uv("venv", "-q", "--clear", "--python", sys.executable, str(home))
    _uv("pip", "install", "-q", "--python", str(python), "--no-deps", "-r", str(LOCK))
    mark.write_bytes(LOCK.read_bytes())
    return python


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise NoProxy(f"LiteLLM was not here after {INSTALL_S} s") from error
    if done.returncode:
        [*_, said] = done.stderr.strip().splitlines() or ["no reason is known"]
        raise NoProxy(f"LiteLLM cannot be installed: {said[:300]}")


def new_key() -> str:
    return f"sk-{secrets.token_hex(16)}"


def configuration(alias: str, port: int, key: str) -> Mapping[str, Any]:
    """LiteLLM's file, for vLLM at `port`; JSON is YAML."""
    model = {"model": f"hosted_vllm/{alias}", "api_base": f"http://127.0.0.1:{port}/v1"}
    return {
        "model_list": [{"model_name": alias, "litellm_params": model}],
        "general_settings": {"master_key": key},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--alias", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--python", required=True, help="of the environment that has LiteLLM")
    parser.add_argument("--folder", type=Path, required=True, help="for LiteLLM's file")
    given, flags = parser.parse_known_args()
    children: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGINT, _ended)
    signal.signal(signal.SIGTERM, _ended)
    try:
        port = free_port()
        children.append(_vllm(given.model, given.alias, port, flags))
        _wait_for(port, children[0])
        file = given.folder / "litellm.json"
        file.write_text(json.dumps(configuration(given.alias, port, os.environ["LITELLM_KEY"])))
        children.append(_litellm(given.python, file, given.port))
        sys.exit(children[-1].wait())
    finally:
        for child in reversed(children):
            child.send_signal(signal.SIGINT)
        for child in children:
            child.wait()


def _ended(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _vllm(model: str, alias: str, port: int, flags: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen([*command, "--model", model, "--served-model-name", alias, *flags])


def _litellm(python: str, file: Path, port: int) -> subprocess.Popen[bytes]:
    binary = Path(python).parent / "litellm"
    command = [str(binary), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment.pop("PYTHONPATH", None)
    return subprocess.Popen([*command, "--telemetry", "False"], env=environment)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_S
    while status(port, "/health") != 200:
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit("vLLM's server did not start")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
