"""Whether an adapter goes over a base, by the headers of both."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.base import Adapter
from engines.planning.adapter_fit import check_adapter, misfit
from engines.testing.tiny import make_llama
from tests.support.adapters import adapter_folder

LORA = {"enable_lora": True, "max_lora_rank": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, None),
        ({"hidden": 32}, "'model.layers.0.self_attn.q_proj' is of 64 x 32; the base's of 64 x 64"),
        ({"layers": 1}, None),
        ({"layers": 3}, "'model.layers.2.self_attn.q_proj' is beyond the base's 2 layers"),
    ],
)
def test_shapes_are_the_base_s(
    tmp_path: Path, base: Path, how: dict[str, int], said: str | None
) -> None:
    assert misfit(adapter_folder(tmp_path / "a", **how), base) == said


def with_names(folder: Path, before: str, after: str) -> Path:
    """The same tensors under other names of the same length."""
    path = folder / "adapter_model.safetensors"
    assert len(before) == len(after)
    path.write_bytes(path.read_bytes().replace(before.encode(), after.encode()))
    return folder


def test_names_that_the_base_has_not_are_vllm_s_matter(tmp_path: Path, base: Path) -> None:
    other = adapter_folder(tmp_path / "a", hidden=32, layers=3)
    assert misfit(with_names(other, "model.model.model.", "model.textm.model."), base) is None
    half = adapter_folder(tmp_path / "b", layers=3)
    renamed = with_names(half, "model.model.layers.2", "model.visio.layers.2")
    assert misfit(renamed, base) is None, "another tower's layers"


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_base_that_says_nothing_refuses_nothing(tmp_path: Path, content: bytes | None) -> None:
    folder = adapter_folder(tmp_path / "a")
    (tmp_path / "base").mkdir()
    if content is not None:
        (tmp_path / "base" / "model.safetensors").write_bytes(content)
    assert misfit(folder, tmp_path / "base") is None
    assert misfit(folder, tmp_path / "gone") is None


def test_what_is_packed_says_no_shape(tmp_path: Path) -> None:
    header: dict[str, Any] = {}
    for layer in range(2):
        at = f"model.layers.{layer}.self_attn.q_proj"
        header[f"{at}.qweight"] = {"dtype": "I32", "shape": [8, 1], "data_offsets": [0, 32]}
        header[f"{at}.scales"] = {"dtype": "F16", "shape": [1, 8], "data_offsets": [0, 16]}
    text = json.dumps(header).encode()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    assert misfit(adapter_folder(tmp_path / "a"), tmp_path / "base") is None


def test_all_is_looked_at_before_an_engine_has_it(tmp_path: Path, base: Path) -> None:
    named = Adapter(name="a", source="owner/lora")
    check_adapter(named, adapter_folder(tmp_path / "a", rank=8), LORA, base)
    for how, said in (
        ({"rank": 16}, "'owner/lora': its rank is 16, and args.max_lora_rank is 8"),
        ({"rank": 8, "tensors": 64}, "says rank 8, and the tensors of"),
        ({"hidden": 32}, "'owner/lora': 'model.layers.0.self_attn.q_proj' is of 64 x 32"),
    ):
        with pytest.raises(ValueError, match=said):
            check_adapter(named, adapter_folder(tmp_path / said[:5], **how), LORA, base)
    with pytest.raises(ValueError, match="args need enable_lora"):
        check_adapter(named, tmp_path / "a", {}, base)
    with pytest.raises(ValueError, match=r"holds no adapter_config\.json"):
        check_adapter(named, tmp_path / "gone", LORA, base)
