"""The models that are measured: made or converted on this machine, no hub and no network."""

import json
import random
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.testing.tiny import SPECIALS, llama_shapes, make_llama, write_weights
from engines.weights.packaged_model import converted_model

TEXT = "the fjord is deep and cold water runs under a grey sky while small boats return home"
WORDS = tuple(TEXT.split())
CHARS_PER_TOKEN = 4.7
"""Of WORDS, with all three tokenizers; the exact length of a prompt is in its usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model's folder, and the engine arguments that every side gets."""

    name: str
    folder: Path
    engine_args: Mapping[str, Any] = field(default_factory=dict)


MODELS = "tiny, tiny-40k, deep, smollm2, qwen0.6b, llama8b, wide, wide-tiny"


def make_model(name: str, folder: Path) -> Model:
    """One of MODELS, under `folder`."""
    match name:
        case "tiny":
            return _tiny(folder / "tiny")
        case "tiny-40k":
            return _tiny_40k(folder / "tiny-40k")
        case "deep":
            return _deep(folder / "deep")
        case "smollm2":
            return _smollm2(folder)
        case "llama8b":
            return _llama8b(folder / "llama8b")
        case "qwen0.6b":
            arguments = _on_cpu("bfloat16") | {"enforce_eager": False, "max_model_len": 8192}
            return _wide(folder / "qwen0.6b", _QWEN06B, arguments)
        case "wide":
            return _wide(folder / "wide", _WIDE, {"dtype": "bfloat16"})
        case "wide-tiny":
            return _wide(folder / "wide-tiny", {}, {"dtype": "float32"})
    raise ValueError(f"There is no benchmark model {name!r}; right would be {MODELS}")


def _tiny(folder: Path) -> Model:
    """Front-bound: 0.1 M parameters. Every token is printable, as with real models; the byte
    tokens of engines.testing.tiny are mostly parts of characters: nothing to send."""
    make_llama(folder)
    write_tokenizer(folder / "tokenizer.json", 256, SPECIALS)
    return Model(
        name="tiny",
        folder=folder,
        engine_args=_on_cpu("float32") | {"max_model_len": 8192},
    )


def _tiny_40k(folder: Path) -> Model:
    """The tiny one, for prompts of 32,768 tokens."""
    model, most = _tiny(folder), 40_960
    config = json.loads((folder / "config.json").read_text())
    _write(folder / "config.json", config | {"max_position_embeddings": most})
    arguments = {**model.engine_args, "max_model_len": most}
    return Model(name="tiny-40k", folder=folder, engine_args=arguments)


def _deep(folder: Path) -> Model:
    """The tiny one with ten layers of random weights: slow enough for vLLM's server to send each
    token of 256 streams in a chunk of its own, as it does until it falls behind."""
    model = _tiny(folder)
    config = json.loads((folder / "config.json").read_text())
    _write(folder / "config.json", config | {"num_hidden_layers": 10})
    arguments = {**model.engine_args, "load_format": "dummy"}
    return Model(name="deep", folder=folder, engine_args=arguments)


def _smollm2(folder: Path) -> Model:
    """Engine-bound: 135 M parameters on a CPU."""
    return Model(
        name="smollm2",
        folder=converted_model(folder, lambda *_: None),
        engine_args=_on_cpu(_fastest_dtype()) | {"max_model_len": 8192},
    )


def _llama8b(folder: Path) -> Model:
    """Llama-3.1-8B's shape; weights are random (`load_format: dummy`), 16 GB on the card."""
    folder.mkdir(parents=True, exist_ok=True)
    template = json.loads((make_llama(folder / "seed") / "tokenizer_config.json").read_text())
    specials = tuple(template[f"{name}_token"] for name in ("eos", "bos", "pad"))
    write_tokenizer(folder / "tokenizer.json", _LLAMA8B["vocab_size"] - len(specials), specials)
    template["model_max_length"] = _LLAMA8B["max_position_embeddings"]
    _write(folder / "tokenizer_config.json", template)
    first_special = _LLAMA8B["vocab_size"] - len(specials)
    ends = {"eos_token_id": first_special, "bos_token_id": first_special + 1}
    _write(folder / "config.json", _LLAMA8B | ends)
    _write(folder / "generation_config.json", ends)
    return Model(
        name="llama8b",
        folder=folder,
        engine_args={"load_format": "dummy", "dtype": "bfloat16", "max_model_len": 8192},
    )


def _wide(folder: Path, sizes: Mapping[str, Any], engine_args: Mapping[str, Any]) -> Model:
    """As many tokens as Qwen3 has; seeded weights on disk, so that they can be read again."""
    made = Model(name=folder.name, folder=folder, engine_args=engine_args)
    if (folder / "model.safetensors").exists():
        return made
    make_llama(folder)
    (folder / "model.safetensors").unlink()
    specials = {f"{name}_token_id": _WIDE_VOCABULARY - 3 + n for n, name in enumerate(_ENDS)}
    config = json.loads((folder / "config.json").read_text())
    config |= {**sizes, **specials, "vocab_size": _WIDE_VOCABULARY}
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", specials)
    write_tokenizer(folder / "tokenizer.json", _WIDE_VOCABULARY - 3, SPECIALS)
    half = folder / "model.part"
    write_weights(half, llama_shapes(config), seed=0, spread=config["hidden_size"] ** -0.5)
    half.replace(folder / "model.safetensors")
    return made


_WIDE_VOCABULARY = 151_936
_ENDS = ("eos", "bos", "pad")
_WIDE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
}
"""Llama-3.2-1B's shape: 1.3 G parameters, 2.6 GB in bfloat16."""
_QWEN06B = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
"""Qwen3-0.6B's shape: 0.6 G parameters, 1.2 GB in bfloat16."""
_LLAMA8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def _on_cpu(dtype: str) -> dict[str, Any]:
    """Written out, so that no side chooses for itself."""
    return {"dtype": dtype, "enforce_eager": True, "kv_cache_memory_bytes": 2 * 2**30}


def _fastest_dtype() -> str:
    """Without bf16 instructions float32 is three times faster in a batch."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def write_tokenizer(path: Path, size: int, specials: tuple[str, ...]) -> None:
    """A byte-pair tokenizer of `size` printable tokens for ASCII text, then the specials."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    alphabet = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    vocabulary, merges = _merged(alphabet, size)
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in specials])
    tokenizer.save(str(path))


def _merged(alphabet: list[str], size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The alphabet, then merges: those of WORDS first, then pairs and triples of letters."""
    vocabulary = {char: number for number, char in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for left, right in _pairs():
        if len(vocabulary) >= size:
            break
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            merges.append((left, right))
    return vocabulary, merges


def _pairs() -> Iterator[tuple[str, str]]:
    """What is put together, without end: WORDS letter by letter, then all pairs, triples, …"""
    wanted = [("Ġ" + word if i else word) for i, word in enumerate(WORDS)]
    yield from ((word[:end], word[end]) for word in wanted for end in range(1, len(word)))
    letters = ["Ġ", *string.ascii_lowercase, *string.ascii_uppercase]
    parts = letters
    while True:
        longer = []
        for left in parts:
            for right in letters[1:]:
                yield left, right
                longer.append(left + right)
        parts = longer


def make_prompt(seed: int, tokens: int) -> str:
    """About `tokens` tokens of words; each seed begins otherwise, so that no prefix is cached."""
    drawn = random.Random(seed)
    length = round(tokens * CHARS_PER_TOKEN)
    text = f"{seed:x} "
    while len(text) < length:
        text += drawn.choice(WORDS) + " "
    return text[:length].strip()


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1))
