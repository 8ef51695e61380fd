"""A LoRA becomes what llama.cpp reads, or a ValueError that says why not."""

import json
import re
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.gguf import GgufFile
from engines.llamacpp.adapter_gguf import llamacpp_adapter
from engines.registry.adapter_tensors import lora_modules
from engines.tensor_headers import safetensors_header
from engines.testing.tiny import make_llama
from tests.support.adapters import adapter_folder
from tests.support.bad_loras import bad_loras
from tests.support.lora_ggufs import floats, lora_gguf, tiny_gguf


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("base")
    return tiny_gguf(make_llama(home / "tiny"), home / "base.gguf")


def made(folder: Path, base: Path) -> Path:
    return llamacpp_adapter(folder, base, folder.with_suffix(".made"))


def set_config(folder: Path, **values: Any) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def alpha(path: Path) -> float:
    with closing(GgufFile(path)) as file:
        return float(file.get("adapter.lora.alpha"))


def test_it_is_byte_for_byte_what_the_gguf_library_writes(tmp_path: Path, base: Path) -> None:
    folder = adapter_folder(tmp_path / "a", rank=3)  # 96 bytes a row: some need padding
    ours, theirs = made(folder, base), lora_gguf(folder, tmp_path / "theirs.gguf")
    with closing(GgufFile(ours)) as one, closing(GgufFile(theirs)) as other:
        assert one.metadata == other.metadata
        assert one.tensors()[0] == other.tensors()[0]
        assert one.whole_bytes() <= ours.stat().st_size
    assert ours.stat().st_size == theirs.stat().st_size
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(("dtype", "kind"), [("F32", "<f4"), ("F16", "<f2")])
def test_floats_of_other_widths(tmp_path: Path, base: Path, dtype: str, kind: str) -> None:
    folder = adapter_folder(tmp_path / "a")
    tensors = dict(floats(folder / "adapter_model.safetensors"))
    header, data = {}, b""
    for name, values in tensors.items():
        raw = values.astype(kind).tobytes()
        place = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": place}
        data += raw
    text = json.dumps(header).encode()
    head = struct.pack("<Q", len(text)) + text
    (folder / "adapter_model.safetensors").write_bytes(head + data)
    from gguf import GGUFReader

    read = {tensor.name: tensor.data for tensor in GGUFReader(made(folder, base)).tensors}
    a = tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    np.testing.assert_array_equal(read["blk.0.attn_q.weight.lora_a"], a.astype(kind))
    v = tensors["base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight"]
    np.testing.assert_array_equal(read["blk.1.attn_v.weight.lora_b"], v.astype(kind))


def test_alpha_is_what_llama_cpp_divides_by_the_rank(tmp_path: Path, base: Path) -> None:
    folder = adapter_folder(tmp_path / "a", rank=4)
    assert alpha(made(set_config(folder, lora_alpha=8), base)) == 8.0
    assert alpha(made(set_config(folder, use_rslora=True), base)) == 16.0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"lora_alpha": None}, "names no lora_alpha"),
        ({"lora_alpha": True}, "names no lora_alpha"),
        ({"lora_alpha": 0}, "names no lora_alpha"),
        ({"alpha_pattern": {"q_proj": 2}}, "has an alpha_pattern, which llama.cpp does not know"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 4}}, "use_rslora with a rank_pattern"),
        ({"use_dora": True}, "needs use_dora"),
    ],
)
def test_what_llama_cpp_does_not_know(
    tmp_path: Path, base: Path, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        made(set_config(adapter_folder(tmp_path / "a"), **config), base)


def renamed(folder: Path, before: bytes, after: bytes) -> Path:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes().replace(before, after))
    return folder


def test_modules_that_it_has_no_place_for(tmp_path: Path, base: Path) -> None:
    folder = renamed(adapter_folder(tmp_path / "a"), b"self_attn.v_proj", b"self_attn.z_proj")
    with pytest.raises(ValueError, match=r"z_proj': llama\.cpp's llama takes none there"):
        made(folder, base)
    for how, said in (
        ({"layers": 3}, "'blk.2.attn_q.weight' is none of the base's tensors"),
        ({"hidden": 96}, "'blk.0.attn_q.weight' is of 64 x 96; the base's of 64 x 64"),
        ({"rank": 8, "tensors": 64}, "says rank 8, and the tensors of"),
    ):
        with pytest.raises(ValueError, match=said):
            made(adapter_folder(tmp_path / said[:9], **how), base)


def test_an_architecture_whose_names_are_not_known(tmp_path: Path) -> None:
    strange = tiny_gguf(make_llama(tmp_path / "tiny"), tmp_path / "b.gguf", "mamba")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a base of the kind 'mamba': PEFT's form is read for"):
        made(adapter_folder(tmp_path / "a"), strange)


def test_a_gguf_that_is_a_lora_is_taken_as_it_is(tmp_path: Path, base: Path) -> None:
    file = lora_gguf(adapter_folder(tmp_path / "a"), tmp_path / "lora.gguf")
    assert llamacpp_adapter(file, base, tmp_path / "none") == file
    assert not (tmp_path / "none").exists()


def test_a_gguf_that_is_none_is_told(tmp_path: Path, base: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    good = lora_gguf(folder, tmp_path / "good.gguf").read_bytes()
    wrong = {
        "is a None; right would be a LoRA's GGUF": base,
        "is a model; right would be": lora_gguf(folder, tmp_path / "1.gguf", type="model"),
        "is for qwen3, its base a llama": lora_gguf(folder, tmp_path / "2.gguf", "qwen3"),
        "is an activated LoRA": lora_gguf(
            folder, tmp_path / "3.gguf", adapter__alora__invocation_tokens=[1, 2]
        ),
        "is cut short": written(tmp_path / "4.gguf", good[:-64]),
        "is no readable GGUF file": written(tmp_path / "5.gguf", b"nonsense"),
        "'blk.0.attn_q.weight' is no pair": written(
            tmp_path / "6.gguf", good.replace(b"attn_q.weight.lora_b", b"attn_q.weight.lora_c", 1)
        ),
        "is none of the base's tensors": written(
            tmp_path / "7.gguf", good.replace(b"blk.0.attn_q", b"blk.9.attn_q")
        ),
    }
    for said, file in wrong.items():
        with pytest.raises(ValueError, match=said.partition(";")[0]):
            llamacpp_adapter(file, base, tmp_path / "none")
    other = lora_gguf(adapter_folder(tmp_path / "b", hidden=96), tmp_path / "8.gguf")
    with pytest.raises(ValueError, match="is of 64 x 96; the base's of 64 x 64"):
        llamacpp_adapter(other, base, tmp_path / "none")


def test_a_gguf_that_llama_cpp_would_not_take_is_told(tmp_path: Path, base: Path) -> None:
    good = lora_gguf(adapter_folder(tmp_path / "a"), tmp_path / "good.gguf").read_bytes()
    for number, (said, content) in enumerate(bad_loras(good).items()):
        assert content != good
        file = written(tmp_path / f"{number}.gguf", content)
        with pytest.raises(ValueError, match=re.escape(said)):
            llamacpp_adapter(file, base, None)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            b"base_model.model.model.layers.1.",
            b"base_model.model.other.layers.0.",
            "is the second module for 'blk.0.attn_",
        ),
        (
            b"base_model.model.model.layers.1.",
            b"base_model.model.model.layers.00",
            "takes none there",
        ),
    ],
)
def test_two_modules_of_one_name(
    tmp_path: Path, base: Path, before: bytes, after: bytes, said: str
) -> None:
    folder = renamed(adapter_folder(tmp_path / "a"), before, after)
    with pytest.raises(ValueError, match=re.escape(said)):
        made(folder, base)


def test_one_module_by_two_names(tmp_path: Path) -> None:
    """With PEFT's prefix and without: vLLM would take either."""
    folder = adapter_folder(tmp_path / "a")
    path = folder / "adapter_model.safetensors"
    begin, header = safetensors_header(path)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    header = {**header, name.removeprefix("base_model.model."): header[name]}
    text = json.dumps(header).encode()
    raw = path.read_bytes()[begin:]
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw)
    with pytest.raises(ValueError, match="is the second lora_A of its module"):
        lora_modules(path)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
