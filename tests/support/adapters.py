"""LoRA adapters for the tiny random Llama of engines/testing/tiny."""

from collections.abc import Iterator
from pathlib import Path

from engines.testing.tiny import HEAD, HEADS, HIDDEN, KV_HEADS, LAYERS, write_json, write_weights


def adapter_folder(folder: Path, *, rank: int = 4, seed: int = 1) -> Path:
    """In PEFT's form; it says other things than its base, and than one of another seed."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
    }
    write_json(folder / "adapter_config.json", config)
    write_weights(folder / "adapter_model.safetensors", _shapes(rank), seed, spread=0.8)
    return folder


def _shapes(rank: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in range(LAYERS):
        at = f"base_model.model.model.layers.{layer}.self_attn"
        for name, out in (("q_proj", HEADS * HEAD), ("v_proj", KV_HEADS * HEAD)):
            yield f"{at}.{name}.lora_A.weight", (rank, HIDDEN)
            yield f"{at}.{name}.lora_B.weight", (out, rank)
