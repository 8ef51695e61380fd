"""A load of llama.cpp: what it reads before it keeps the interpreter, and one that is given up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.llamacpp import page_cache
from engines.llamacpp.page_cache import PIECE_BYTES, read_ahead
from tests.support.paths import ROOT

GIVEN_UP = """
from engines.base import EngineUnavailable
from engines.llamacpp import model
from engines.registry.spec import EngineSpec
from engines.weights.packaged_model import gguf_path

def broken(*_):
    raise RuntimeError("no answer")

model.HttpClient = broken
args = {"cpuparams.n_threads": 1, "cpuparams_batch.n_threads": 1, "n_ctx": 512}
for _ in range(5):
    try:
        model.LlamacppModel(EngineSpec(kind="llamacpp", source="m", args=args), gguf_path())
    except EngineUnavailable as error:
        print("given up", error)
"""


@pytest.mark.slow
def test_a_load_that_fails_as_soon_as_the_model_is_there_ends() -> None:
    """llama.cpp, ended before its loop runs, would keep the interpreter for ever."""
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_UP], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.count("no answer") == 5, done.stderr


def write(path: Path, pieces: int) -> int:
    path.write_bytes(b"x" * (pieces * PIECE_BYTES + 7))
    return pieces * PIECE_BYTES + 7


@pytest.fixture
def nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "_is_there", lambda file, start: False)


@pytest.mark.usefixtures("nothing_is_there")
def test_all_parts_of_a_model_are_read(tmp_path: Path) -> None:
    size = write(tmp_path / "m-00001-of-00002.gguf", 2) + write(
        tmp_path / "m-00002-of-00002.gguf", 1
    )
    write(tmp_path / "m-00001-of-00003.gguf", 1)
    write(tmp_path / "other.gguf", 1)
    assert read_ahead(tmp_path / "m-00001-of-00002.gguf") == size


@pytest.mark.usefixtures("nothing_is_there")
def test_what_has_no_room_in_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = write(tmp_path / "m.gguf", 1)
    monkeypatch.setattr(page_cache, "_free_bytes", lambda: size - 1)
    assert read_ahead(tmp_path / "m.gguf") == 0
    monkeypatch.setattr(page_cache, "_free_bytes", lambda: size)
    assert read_ahead(tmp_path / "m.gguf") == size


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells what is in memory")
def test_what_is_there_is_not_read_again(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", 3)
    read_ahead(tmp_path / "m.gguf")
    assert read_ahead(tmp_path / "m.gguf") == 0
