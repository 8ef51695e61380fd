"""A GGUF of next to no weights with SmolLM2's own tokenizer and template: llama.cpp's front at 64
streams without the seconds of its mathematics."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gguf import GGUFWriter

HIDDEN, FEED_FORWARD, HEADS, CONTEXT = 64, 64, 2, 65_536


def make_gguf(source: Path, path: Path, seed: int = 0) -> Path:
    """`source`: SmolLM2's GGUF. Of random weights, one layer; returns `path`."""
    from gguf import GGUFReader, GGUFWriter  # 0.5 s: tests import this file as they are collected

    reader = GGUFReader(source)
    writer = GGUFWriter(path, "llama")
    _numbers(writer)
    for name, field in reader.fields.items():
        if name.startswith("tokenizer."):
            kinds = field.types
            kind = kinds[0], kinds[-1] if len(kinds) > 1 else None
            writer.add_key_value(name, field.contents(), *kind)
    drawn = np.random.default_rng(seed)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    for name, shape in _shapes(vocabulary).items():
        weights = drawn.normal(0, 0.5, shape) if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(name, weights.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _numbers(writer: "GGUFWriter") -> None:
    writer.add_block_count(1)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    square, block = (HIDDEN, HIDDEN), "blk.0"
    return {
        "token_embd.weight": (vocabulary, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        f"{block}.attn_norm.weight": (HIDDEN,),
        f"{block}.ffn_norm.weight": (HIDDEN,),
        **{f"{block}.attn_{part}.weight": square for part in ("q", "k", "v", "output")},
        **{f"{block}.ffn_{part}.weight": (FEED_FORWARD, HIDDEN) for part in ("gate", "up")},
        f"{block}.ffn_down.weight": (HIDDEN, FEED_FORWARD),
    }
