"""The tiny Llama and Qwen3 of engines/testing/tiny as llama.cpp reads them, in 32 bits, and the
same with a LoRA merged into their weights."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engines.tensor_headers import safetensors_header
from engines.testing.tiny import SPECIALS, TEMPLATE
from tests.support.gguf_names import LAYER_NAMES

if TYPE_CHECKING:
    from gguf import GGUFWriter

Arch = Literal["llama", "qwen3"]
Floats = NDArray[np.float32]
_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", **LAYER_NAMES}


def tiny_gguf(folder: Path, to: Path, arch: Arch = "llama", adapter: Path | None = None) -> Path:
    """Of a folder of `make_llama`; with an `adapter`, merged."""
    from gguf import GGUFWriter  # 0.5 s: tests import this file as they are collected

    config = json.loads((folder / "config.json").read_text("utf-8"))
    tensors = dict(floats(folder / "model.safetensors"))
    for module, change in {} if adapter is None else changes(adapter).items():
        tensors[f"{module}.weight"] = tensors[f"{module}.weight"] + change
    writer = GGUFWriter(to, arch)
    writer.add_context_length(4096)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokens(writer, folder)
    for name, values in tensors.items():
        writer.add_tensor(_name(name), np.ascontiguousarray(_ordered(name, values, arch, config)))
    if arch == "qwen3":
        for layer in range(config["num_hidden_layers"]):
            for part in ("q", "k"):
                ones = np.ones(config["head_dim"], np.float32)
                writer.add_tensor(f"blk.{layer}.attn_{part}_norm.weight", ones)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def lora_gguf(adapter: Path, to: Path, arch: Arch = "llama", **values: Any) -> Path:
    """PEFT's folder as llama.cpp's own converter writes it, for query and value of the tiny models;
    `values`: other metadata."""
    from gguf import GGUFWriter

    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    writer = GGUFWriter(to, arch)
    writer.add_string("general.type", str(values.pop("type", "adapter")))
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", config["lora_alpha"])
    for key, value in values.items():
        writer.add_array(key.replace("__", "."), value)
    sizes = {"num_attention_heads": 2, "num_key_value_heads": 1}
    for name, tensor in floats(adapter / "adapter_model.safetensors"):
        module, side = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", name).groups()  # type: ignore[union-attr]
        own = tensor if side == "A" else _ordered(f"{module}.weight", tensor, arch, sizes)
        to_name = f"{_name(f'{module}.weight')}.lora_{side.lower()}"
        writer.add_tensor(to_name, np.ascontiguousarray(own))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def changes(adapter: Path) -> dict[str, Floats]:
    """Module -> what the adapter adds to its matrix."""
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    tensors = dict(floats(adapter / "adapter_model.safetensors"))
    found = {}
    for name, a in tensors.items():
        if ".lora_A." in name:
            b = tensors[name.replace("lora_A", "lora_B")]
            rank = a.shape[0] ** 0.5 if config.get("use_rslora") else a.shape[0]
            module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            found[module] = (b @ a) * np.float32(config["lora_alpha"] / rank)
    return found


def floats(path: Path) -> Iterator[tuple[str, Floats]]:
    """bfloat16 is float32's upper half."""
    begin, header = safetensors_header(path)
    raw = path.read_bytes()[begin:]
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        halves = np.frombuffer(raw[start:end], "<u2").astype(np.uint32) << 16
        yield name, halves.view(np.float32).reshape(tensor["shape"])


def _ordered(name: str, values: Floats, arch: Arch, config: dict[str, Any]) -> Floats:
    """As llama.cpp's converter does with Llama's query and key."""
    if arch != "llama" or not name.endswith(("q_proj.weight", "k_proj.weight")):
        return values
    heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
    rows = values.shape[0]
    split = values.reshape(heads, 2, rows // heads // 2, *values.shape[1:])
    return split.swapaxes(1, 2).reshape(values.shape)


def _name(name: str) -> str:
    head, _, kind = name.rpartition(".")
    if not head.startswith("model.layers."):
        return f"{_NAMES[head]}.{kind}"
    layer, _, part = head.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_NAMES[part]}.{kind}"


def _add_tokens(writer: "GGUFWriter", folder: Path) -> None:
    ids: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    tokens = sorted(ids, key=lambda token: ids[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIALS else 1 for token in tokens])
    writer.add_token_merges(["Ā ā"])  # of two control characters: there must be one
    writer.add_eos_token_id(ids["<|end|>"])
    writer.add_pad_token_id(ids["<|pad|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
