"""Makes a tiny random model for tests and benchmarks: `python -m engines.testing.tiny FOLDER`.

A 2-layer Llama over bytes that loads in seconds and says nonsense. With `--qwen3 TOKENIZER`
a Qwen3 with that folder's real tokenizer and chat template (thinking, tools). The same seed
gives the same bytes.
"""

import argparse
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, HEAD = 64, 128, 2, 2, 1, 32
CONTEXT_TOKENS = 32768
SPECIALS = ("<|end|>", "<|start|>", "<|pad|>")
"""Ids 256 to 258; the 256 before them are the bytes, so an ASCII character is a token."""
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content or '' }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def make_llama(folder: Path, seed: int = 0) -> Path:
    """Under 1 MB; needs no torch; 0.1 s. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = dict(zip(("eos_token", "bos_token", "pad_token"), SPECIALS, strict=True))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT_TOKENS,
            "chat_template": TEMPLATE,
            **special,
        },
    )
    config = {**llama_config(tokenizer, *SPECIALS), "mlp_bias": False}
    write_model(folder, {**config, "model_type": "llama"}, "LlamaForCausalLM", seed)
    return folder


def make_qwen3(folder: Path, tokenizer: Path, seed: int = 0) -> Path:
    """About 30 MB, most of it the tokenizer's 151,669 tokens. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)
    known = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = llama_config(known, "<|im_end|>", "<|im_start|>", "<|endoftext|>")
    write_model(folder, {**config, "model_type": "qwen3"}, "Qwen3ForCausalLM", seed)
    return folder


def byte_tokenizer(specials: Sequence[str] = SPECIALS, marks: Sequence[str] = ()) -> Tokenizer:
    """Each byte is a token, and each of these: `specials` are no text of an answer, `marks` are."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in specials])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in marks])
    return tokenizer


def llama_config(tokenizer: Tokenizer, eos: str, bos: str, pad: str) -> dict[str, Any]:
    """Of a Llama over that tokenizer, but for its model_type."""
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "eos_token_id": tokenizer.token_to_id(eos),
        "bos_token_id": tokenizer.token_to_id(bos),
        "pad_token_id": tokenizer.token_to_id(pad),
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT_TOKENS,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }


def write_model(folder: Path, config: Mapping[str, Any], architecture: str, seed: int) -> None:
    write_json(folder / "config.json", {"architectures": [architecture], **config})
    ends = {name: config[name] for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    write_json(folder / "generation_config.json", ends)
    shapes = llama_shapes(config, normed=architecture == "Qwen3ForCausalLM")
    write_weights(folder / "model.safetensors", shapes, seed)


def write_weights(
    path: Path,
    shapes: Iterable[tuple[str, tuple[int, ...]]],
    seed: int,
    spread: float = HIDDEN**-0.5,
) -> None:
    """Tensors by name and shape, in bfloat16, of that standard deviation; the same seed gives the
    same bytes. One tensor is in memory at a time."""
    random, listed = np.random.default_rng(seed), list(shapes)
    with path.open("wb") as out:
        out.write(_safetensors_header(listed))
        for _, shape in listed:
            out.write(_bfloat16(random, shape, spread).tobytes())


def _safetensors_header(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> bytes:
    """By hand, as numpy has no bfloat16: a header's length, the header; the tensors follow."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes:
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def llama_shapes(
    config: Mapping[str, Any], *, normed: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A Llama's tensors by a config.json with tied embeddings; `normed`: with Qwen3's norms."""
    hidden, head = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    inner = config["intermediate_size"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield f"{at}.post_attention_layernorm.weight", (hidden,)
        yield f"{at}.self_attn.q_proj.weight", (queries, hidden)
        yield f"{at}.self_attn.k_proj.weight", (keys, hidden)
        yield f"{at}.self_attn.v_proj.weight", (keys, hidden)
        yield f"{at}.self_attn.o_proj.weight", (hidden, queries)
        if normed:
            yield f"{at}.self_attn.q_norm.weight", (head,)
            yield f"{at}.self_attn.k_norm.weight", (head,)
        yield f"{at}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{at}.mlp.up_proj.weight", (inner, hidden)
        yield f"{at}.mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)


def _bfloat16(
    random: np.random.Generator, shape: tuple[int, ...], spread: float
) -> NDArray[np.uint16]:
    """Ones for a norm, else normal. bfloat16 is float32's upper half."""
    values: NDArray[np.float32] = np.ones(shape, np.float32)
    if len(shape) > 1:
        values = random.standard_normal(shape, np.float32) * np.float32(spread)
    return (values.view(np.uint32) >> 16).astype("<u2")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engines.testing.tiny", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--qwen3", type=Path, metavar="TOKENIZER", help="a tokenizer's folder")
    given = parser.parse_args()
    if given.qwen3:
        make_qwen3(given.folder, given.qwen3, given.seed)
    else:
        make_llama(given.folder, given.seed)


if __name__ == "__main__":
    main()
