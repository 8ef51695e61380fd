"""An offline server on vLLM: of its engine's processes none calls anybody, nor can be called."""

import shutil
from pathlib import Path

import pytest

from engines.testing.tiny import make_llama
from tests.support.offline_watch import beyond, packed, reason, site

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

REGISTRY = """\
models:
  mine:
    source: owner/name
    engine: vllm
    args: {enforce_eager: true}
    context: 512
    output: 64
    price: {input: "1.00", output: "3.00"}
    preload: true
profiles:
  p: {}
"""


@pytest.mark.timeout(400)
def test_no_process_of_an_engine_of_vllm_reaches_beyond_the_loopback(tmp_path: Path) -> None:
    """Its sockets for messages (zmq) and for torch's process group, its look for its own address,
    usage statistics, and the tokenizer's for files: all of it under strace, with the loopback
    alone."""
    if reason() is not None:
        pytest.skip(str(reason()))
    if shutil.which("strace") is None:
        pytest.skip("STRACE IS NOT HERE: vLLM's sockets were not watched")
    folder = make_llama(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("maker", "site"):
        (tmp_path / name).mkdir()
    packed(tmp_path / "maker", REGISTRY, files)
    told = site(tmp_path / "maker", tmp_path / "site", STRACE=str(tmp_path / "calls"))
    assert told["answer"]["usage"]["completion_tokens"] > 0
    assert told["status"] == 0
    assert told["after"] == told["before"], told["log"][-2000:]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert any("bind(" in line and "inet_addr" in line for line in calls)  # torch's
    assert beyond(calls) == []
