"""Ctrl-C ends everything within 10 s and leaves no process, whatever the engine does."""

import contextlib
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from engines.testing.tiny import make_llama
from tests.support.paths import TESTS
from tests.support.serve_process import ENDLESS, Server, serving, streaming, with_registry
from tests.support.serving import read_records, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.alone]

STUBBORN = [sys.executable, "-P", str(TESTS / "support/stubborn_child.py")]
VLLM = """\
models:
  tiny:
    source: {source}
    engine: vllm
    args: {{max_model_len: 2048, kv_cache_memory_bytes: 268435456}}
    context: 2K
    output: 1K
    preload: true
profiles:
  embedded: {{}}
"""


def family(server: Server) -> list[psutil.Process]:
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it waits for init, not for us."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def ctrl_c_ends(server: Server, processes: list[psutil.Process]) -> None:
    began = time.monotonic()
    server.ends(signal.SIGINT, within_s=30)
    wait_until(lambda: not any(map(is_alive, processes)), "no process is left")
    assert time.monotonic() - began < 10


def test_an_engine_that_heeds_nothing_is_left_behind(tmp_path: Path) -> None:
    with_registry(tmp_path, token_delay_s=0.05)
    with serving(tmp_path, "--no-auth", command=STUBBORN) as server:
        url = server.url()
        with streaming(url, **ENDLESS) as events:
            next(events)
            ctrl_c_ends(server, family(server))
    (record,) = read_records(tmp_path / "data")
    assert record["end"] == "shut_down"
    assert record["completion_tokens"] > 0


@pytest.mark.vllm
def test_a_frozen_vllm_is_killed(tmp_path: Path) -> None:
    source = make_llama(tmp_path / "tiny")
    (tmp_path / "model_registry.yaml").write_text(VLLM.format(source=source))
    with serving(tmp_path, "--no-auth") as server:
        url = server.url()
        server.until("Ready", within_s=120)
        with streaming(url, **ENDLESS) as events:
            next(events)
            processes = family(server)
            engine = [p for p in processes if "VLLM" in "".join(p.cmdline()) + p.name()]
            assert engine
            for process in engine:
                process.suspend()
            ctrl_c_ends(server, processes)
    (record,) = read_records(tmp_path / "data")
    assert record["end"] == "shut_down"
