"""What vLLM compiles is kept in the data directory, found again, and bounded."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engines.base import GenerateRequest, Sampling
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from engines.vllm.caches import FOLDER, PLACES, compiled_in, drop_oldest

ARGS = {
    "dtype": "float32",
    "enforce_eager": False,
    "max_model_len": 512,
    "max_num_batched_tokens": 512,
    "kv_cache_memory_bytes": 2**26,
    "load_format": "dummy",
}


@pytest.fixture(autouse=True)
def nobody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)


def test_they_are_in_the_data_directory_while_an_engine_starts(tmp_path: Path) -> None:
    with compiled_in(tmp_path):
        assert {os.environ[name] for name in PLACES} == {
            str(tmp_path / FOLDER / place) for place in PLACES.values()
        }
        assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert not PLACES.keys() & os.environ.keys()


def test_where_the_operator_wants_them_they_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CACHE_ROOT", "/elsewhere")
    with compiled_in(tmp_path):
        assert os.environ["VLLM_CACHE_ROOT"] == "/elsewhere"
    assert os.environ["VLLM_CACHE_ROOT"] == "/elsewhere"


def test_a_data_directory_that_cannot_be_written_stops_no_start(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("no folder")
    with compiled_in(tmp_path):
        assert os.environ["VLLM_CACHE_ROOT"] == str(tmp_path / FOLDER / "vllm")


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, Path]:
    """Of three models, the first used last, and something of none."""
    root = tmp_path / "vllm/torch_compile_cache"
    models = {"a": root / "torch_aot_compile/a", "b": root / "torch_aot_compile/b", "c": root / "c"}
    for age, folder in enumerate(models.values()):
        file = folder / "rank_0_0/model"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 1000)
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton/kernel").write_bytes(b"x" * 500)
    return models


@pytest.mark.parametrize(
    ("most", "left"), [(3500, "abc"), (3499, "ab"), (2499, "a"), (1499, ""), (500, "")]
)
def test_what_was_not_used_for_longest_goes_first(
    tmp_path: Path, kept: dict[str, Path], most: int, left: str
) -> None:
    drop_oldest(tmp_path, most)
    assert "".join(name for name, folder in kept.items() if folder.exists()) == left
    assert (tmp_path / "triton/kernel").exists()


@pytest.mark.usefixtures("kept")
def test_what_is_of_no_model_goes_where_it_is_too_large_alone(tmp_path: Path) -> None:
    drop_oldest(tmp_path, 499)
    assert not tmp_path.exists()


@pytest.mark.vllm
def test_what_a_newer_vllm_does_itself_is_left_to_it() -> None:
    from engines.vllm.cpu_worker import let_compiled_be_read

    new = type("New", (), {"finalize_loading": lambda self, config: "its own"})
    let_compiled_be_read(new)
    assert new().finalize_loading(None) == "its own"


@pytest.mark.vllm
@pytest.mark.anyio
async def test_a_second_start_reads_what_the_first_compiled(tmp_path: Path) -> None:
    """vLLM's own message is the proof; and both answer alike."""
    from engines.vllm.engine import VllmEngine
    from engines.vllm.start import load

    path = _of_one_layer(make_llama(tmp_path / "model"))
    spec = EngineSpec(kind="vllm", source=str(path), args=ARGS)
    answers, compiled = [], []
    for _ in range(2):
        engine = VllmEngine(spec, str(path), partial(load, data_dir=tmp_path))
        await engine.start()
        try:
            answers.append(await _answer(engine))
        finally:
            await engine.stop()
        compiled.append(_compiled(tmp_path))
    assert answers[0] == answers[1]
    assert compiled[0] == compiled[1]
    assert len(compiled[0]) == 1
    assert answers[0]


def _of_one_layer(model: Path) -> Path:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    return model


def _compiled(data_dir: Path) -> dict[str, int]:
    """What vLLM kept of each model, by the moment at which it was written."""
    models = (data_dir / FOLDER / "vllm/torch_compile_cache").rglob("rank_0_0/model")
    return {str(model): model.stat().st_mtime_ns for model in models}


async def _answer(engine: Any) -> str:
    sampling = Sampling(max_tokens=24, temperature=0.0)
    request = GenerateRequest(request_id="r", prompt="on and on", sampling=sampling)
    prompt = await engine.render(request)
    return "".join([delta.text async for delta in engine.generate(request, prompt)])
