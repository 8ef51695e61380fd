"""LoRA adapters for the tiny random Llama of engines/testing/tiny."""

from collections.abc import Iterator
from pathlib import Path

from engines.testing.tiny import HEAD, HEADS, HIDDEN, KV_HEADS, LAYERS, write_json, write_weights


def adapter_folder(
    folder: Path,
    *,
    rank: int = 4,
    seed: int = 1,
    tensors: int | None = None,
    hidden: int = HIDDEN,
    layers: int = LAYERS,
) -> Path:
    """In PEFT's form; it says other things than its base, and than one of another seed. `tensors`:
    their rank, where it is not what the config says."""
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
    write_weights(
        folder / "adapter_model.safetensors",
        _shapes(tensors or rank, hidden, layers),
        seed,
        spread=0.8,
    )
    return folder


def _shapes(rank: int, hidden: int, layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in range(layers):
        at = f"base_model.model.model.layers.{layer}.self_attn"
        for name, out in (("q_proj", HEADS * HEAD), ("v_proj", KV_HEADS * HEAD)):
            yield f"{at}.{name}.lora_A.weight", (rank, hidden)
            yield f"{at}.{name}.lora_B.weight", (out, rank)


def adapter_files(folder: Path) -> dict[str, bytes]:
    """Of such a folder, as a hub has them."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
