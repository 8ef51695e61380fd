"""The tiny random model: the same bytes at every run, small, and its tokens are bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # processes of their own

tokenizers = pytest.importorskip("tokenizers")


def make(folder: Path, *options: str) -> dict[str, bytes]:
    subprocess.run(
        [sys.executable, "-m", "engines.testing.tiny", str(folder), *options], check=True
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    one, two = make(tmp_path / "1"), make(tmp_path / "2")
    other = make(tmp_path / "3", "--seed", "1")
    assert one == two
    assert {name for name in one if one[name] != other[name]} == {"model.safetensors"}
    assert sum(map(len, one.values())) < 5_000_000


def test_every_byte_is_a_token_and_text_survives(tmp_path: Path) -> None:
    make(tmp_path)
    tokenizer = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "Blåbær 42 👩‍👩‍👧‍👦\n\t今天"
    ids = tokenizer.encode(text).ids
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    config = json.loads((tmp_path / "config.json").read_text())
    assert tokenizer.encode("<|end|>").ids == [config["eos_token_id"]]
    assert config["max_position_embeddings"] == 32768
    assert config["vocab_size"] == tokenizer.get_vocab_size() == 259


def test_safetensors_reads_the_weights(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    pytest.importorskip("torch")
    make(tmp_path)
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        embedding = file.get_tensor("model.embed_tokens.weight")
        norm = file.get_tensor("model.norm.weight")
    assert tuple(embedding.shape) == (259, 64)
    assert abs(float(embedding.float().std()) - 1 / 8) < 0.01
    assert norm.float().tolist() == [1.0] * 64


def test_a_qwen3_takes_the_tokenizer_and_template_it_is_given(tmp_path: Path) -> None:
    make(tmp_path / "tokenizer")
    config = tmp_path / "tokenizer" / "tokenizer.json"
    text = config.read_text()
    for ours, theirs in [("end", "im_end"), ("start", "im_start"), ("pad", "endoftext")]:
        text = text.replace(f"<|{ours}|>", f"<|{theirs}|>")
    config.write_text(text)
    made = make(tmp_path / "qwen", "--qwen3", str(tmp_path / "tokenizer"))
    assert made["tokenizer.json"] == config.read_bytes()
    found = json.loads(made["config.json"])
    assert (found["model_type"], found["eos_token_id"], found["vocab_size"]) == ("qwen3", 256, 259)
    assert b"q_norm" in made["model.safetensors"]
