"""The tiny Idefics3 of engines/testing/tiny_vision.py as llama.cpp reads it: a Llama's GGUF and,
beside it, its projector's."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engines.testing.tiny import (
    CONTEXT_TOKENS,
    HEAD,
    HEADS,
    HIDDEN,
    INTERMEDIATE,
    KV_HEADS,
    LAYERS,
    SPECIALS,
    TEMPLATE,
)
from engines.testing.tiny_vision import MARKS, PATCH, SHUFFLED, TILE, make_idefics3
from tests.support.gguf_names import LAYER_NAMES
from tests.support.stored_tensors import stored_tensors

if TYPE_CHECKING:
    from gguf import GGUFWriter

MODEL, PROJECTOR = "tiny-eyes.gguf", "mmproj-tiny-eyes.gguf"
_EMPTY_LINE = "ĊĊ"
"""A token that SmolVLM has and a byte tokenizer lacks: it stands before a picture."""
_TEXT = "model.text_model."
_NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", **LAYER_NAMES}
_EYES = {
    "model.connector.modality_projection.proj": "mm.model.fc",
    "model.vision_model.embeddings.patch_embedding": "v.patch_embd",
    "model.vision_model.embeddings.position_embedding": "v.position_embd",
    "model.vision_model.post_layernorm": "v.post_ln",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}


def make_tiny_eyes(
    folder: Path, seed: int = 0, template: str = TEMPLATE, *, adds_first: bool = False
) -> Path:
    """Under 1 MB; needs no torch. Returns the model's GGUF; the projector is beside it.
    `adds_first`: its vocabulary says that texts begin with <|start|>."""
    published = make_idefics3(folder / "published", seed)
    _write_text(published, folder / MODEL, template, adds_first)
    _write_eyes(published, folder / PROJECTOR)
    return folder / MODEL


def _write_text(published: Path, to: Path, template: str, adds_first: bool) -> None:
    from gguf import GGUFWriter  # 0.5 s: tests import this file as they are collected

    writer = GGUFWriter(to, "llama")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    _add_tokens(writer, published, adds_first)
    writer.add_chat_template(template)
    for name, values in stored_tensors(published):
        if name.startswith(_TEXT):
            name = name.removeprefix(_TEXT)
            if name.startswith("embed_tokens."):
                values = np.concatenate([values, values[:1]])
            writer.add_tensor(_text_name(name), _turned(name, values))
    _close(writer)


def _add_tokens(writer: "GGUFWriter", published: Path, adds_first: bool) -> None:
    ids: dict[str, int] = Tokenizer.from_file(str(published / "tokenizer.json")).get_vocab()
    tokens = [*sorted(ids, key=lambda token: ids[token]), _EMPTY_LINE]
    special = {*SPECIALS, *MARKS}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(_EMPTY_LINE)])
    writer.add_eos_token_id(ids[SPECIALS[0]])
    writer.add_bos_token_id(ids[SPECIALS[1]])
    writer.add_pad_token_id(ids[SPECIALS[2]])
    writer.add_add_bos_token(adds_first)


def _write_eyes(published: Path, to: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(to, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "idefics3")
    values = {
        "embedding_length": HIDDEN,
        "feed_forward_length": INTERMEDIATE,
        "block_count": LAYERS,
        "projection_dim": HIDDEN,
        "attention.head_count": HEADS,
        "image_size": TILE,
        "patch_size": PATCH,
        "projector.scale_factor": SHUFFLED,
        "preproc_image_size": 2 * TILE,
    }
    for key, value in values.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    writer.add_bool("clip.use_gelu", True)
    for name, tensor in stored_tensors(published):
        if not name.startswith(_TEXT):
            writer.add_tensor(_eyes_name(name), tensor)
    _close(writer)


def _text_name(name: str) -> str:
    head, _, kind = name.rpartition(".")
    if not head.startswith("layers."):
        return f"{_NAMES[head]}.{kind}"
    _, layer, part = head.split(".", 2)
    return f"blk.{layer}.{_NAMES[part]}.{kind}"


def _eyes_name(name: str) -> str:
    head, _, kind = name.rpartition(".")
    layers = "model.vision_model.encoder.layers."
    if not head.startswith(layers):
        return f"{_EYES[head]}.{kind}"
    layer, _, part = head.removeprefix(layers).partition(".")
    return f"v.blk.{layer}.{_EYES[part]}.{kind}"


def _turned(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """llama.cpp turns neighbours where transformers turns halves."""
    heads = HEADS if ".q_proj." in name else KV_HEADS if ".k_proj." in name else 0
    if not heads:
        return values
    halves = values.reshape(heads, 2, HEAD // 2, HIDDEN)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _close(writer: "GGUFWriter") -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
