"""A GGUF file's metadata -> ModelFacts."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.gguf import Array, GgufFile
from engines.planning.facts import FactsUnknown, ModelFacts
from engines.planning.kv_layers import KvLayers


def gguf_facts(file: GgufFile, converted: bool = False) -> ModelFacts:
    """Raises FactsUnknown. llama.cpp maps the file as it is: the weights are what follows the
    header. `converted`: what becomes of it for vLLM, in bfloat16."""
    size = _size(file.path)
    tensors, header_bytes = file.tensors()
    trained = _number(file.get("{arch}.context_length"))
    embedding = next((s for n, s in tensors.items() if n.startswith("token_embd.")), (0, 0))
    try:
        return ModelFacts(
            name=file.path.stem,
            elements={"BF16": _total(tensors)} if converted else {"U8": size - header_bytes},
            stored_bytes=size,
            is_quantised=not converted,
            layers=int(file.get("{arch}.block_count")),
            hidden=int(file.get("{arch}.embedding_length")),
            heads=_heads(file, "head_count")[0],
            kv=_kv_layers(file),
            vocabulary=int(embedding[-1]),
            embeddings=1 + any(name.startswith("output.") for name in tensors),
            mlp_width=_number(file.get("{arch}.feed_forward_length")),
            context_tokens=trained,
            rope_elements=trained * _number(file.get("{arch}.rope.dimension_count")) * converted,
        )
    except (TypeError, ValueError, IndexError) as error:
        raise FactsUnknown(f"{file.path} does not say its sizes: {error}") from None


def _size(path: Path) -> int:
    stem, is_part, _ = path.name.partition("-00001-of-")
    parts = path.parent.glob(f"{stem}-*-of-*.gguf") if is_part else [path]
    return sum(part.stat().st_size for part in parts)


def _total(tensors: Mapping[str, Sequence[int]]) -> int:
    return sum(math.prod(shape) for shape in tensors.values())


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _heads(file: GgufFile, name: str) -> Sequence[int]:
    """One number for all layers, or one a layer."""
    key = f"{{arch}}.attention.{name}"
    value = file.get(key)
    if isinstance(value, Array):
        return file.numbers(key)
    return [int(value)] * int(file.get("{arch}.block_count"))


def _kv_layers(file: GgufFile) -> tuple[KvLayers, ...]:
    """Windows are taken for whole: llama.cpp keeps them so where prompts are to be reused."""
    if file.get("{arch}.attention.causal") is False:
        return ()
    layers = int(file.get("{arch}.block_count"))
    latent = file.get("{arch}.attention.kv_lora_rank")
    if latent:
        elements = int(latent) + int(file.get("{arch}.rope.dimension_count"))
        return (KvLayers(kind="latent", count=layers, head_elements=elements),)
    heads = _heads(file, "head_count_kv" if _has_kv_heads(file) else "head_count")
    both = _length(file, "key_length") + _length(file, "value_length")
    return (KvLayers(kind="full", count=1, heads=sum(heads), head_elements=both),)


def _has_kv_heads(file: GgufFile) -> bool:
    return file.get("{arch}.attention.head_count_kv") is not None


def _length(file: GgufFile, name: str) -> int:
    heads = max(_heads(file, "head_count"))
    whole = int(file.get("{arch}.embedding_length"))
    return int(file.get(f"{{arch}}.attention.{name}") or whole // heads)
