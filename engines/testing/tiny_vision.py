"""Makes a tiny random model that reads pictures: `python -m engines.testing.tiny_vision FOLDER`.

An Idefics3 (SmolVLM's family) over bytes: a 2-layer Llama behind a 2-layer vision encoder. A
picture is 4 tokens a tile between marks: one tile, and up to 2 by 2 more of a larger picture. The
same seed gives the same bytes.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.testing.tiny import (
    CONTEXT_TOKENS,
    HIDDEN,
    INTERMEDIATE,
    SPECIALS,
    byte_tokenizer,
    llama_config,
    llama_shapes,
    write_json,
    write_weights,
)

TILE, PATCH, SHUFFLED = 64, 16, 2
"""Pixels of a tile and of a patch, each way; so many patches become one token, each way."""
TILE_TOKENS = (TILE // PATCH // SHUFFLED) ** 2
MARKS = (
    "<image>",
    "<fake_token_around_image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
)
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% elif message.content %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
_LAYERS, _HEADS = 2, 2


def make_idefics3(folder: Path, seed: int = 0) -> Path:
    """Under 1 MB; needs no torch. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer((*SPECIALS, *MARKS))
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = dict(zip(("eos_token", "bos_token", "pad_token"), SPECIALS, strict=True))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_TOKENS,
        "chat_template": TEMPLATE,
        **ends,
    }
    write_json(folder / "tokenizer_config.json", settings)
    text = {**llama_config(tokenizer, *SPECIALS), "mlp_bias": False, "model_type": "llama"}
    write_json(folder / "config.json", _config(text, tokenizer.token_to_id(MARKS[0])))
    write_json(folder / "preprocessor_config.json", _PICTURES)
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": TILE_TOKENS}
    write_json(folder / "processor_config.json", processor)
    write_weights(folder / "model.safetensors", _shapes(text), seed)
    return folder


def _config(text: Mapping[str, Any], image_token: int | None) -> dict[str, Any]:
    return {
        "architectures": ["Idefics3ForConditionalGeneration"],
        "model_type": "idefics3",
        "image_token_id": image_token,
        "pad_token_id": text["pad_token_id"],
        "eos_token_id": text["eos_token_id"],
        "bos_token_id": text["bos_token_id"],
        "scale_factor": SHUFFLED,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "text_config": dict(text),
        "vision_config": {
            "model_type": "idefics3_vision",
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": _HEADS,
            "image_size": TILE,
            "patch_size": PATCH,
        },
    }


_PICTURES: Mapping[str, Any] = {
    "image_processor_type": "Idefics3ImageProcessor",
    "processor_class": "Idefics3Processor",
    "do_convert_rgb": True,
    "do_image_splitting": True,
    "do_normalize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_image_size": {"longest_edge": TILE},
    "resample": 1,
    "rescale_factor": 1 / 255,
    "size": {"longest_edge": 2 * TILE},
}


def _shapes(text: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in llama_shapes(text):
        yield f"model.text_model.{name.removeprefix('model.')}", shape
    yield "model.connector.modality_projection.proj.weight", (HIDDEN, HIDDEN * SHUFFLED**2)
    at = "model.vision_model"
    yield f"{at}.embeddings.patch_embedding.weight", (HIDDEN, 3, PATCH, PATCH)
    yield f"{at}.embeddings.patch_embedding.bias", (HIDDEN,)
    yield f"{at}.embeddings.position_embedding.weight", ((TILE // PATCH) ** 2, HIDDEN)
    for layer in range(_LAYERS):
        yield from _vision_layer(f"{at}.encoder.layers.{layer}")
    yield from _pair(f"{at}.post_layernorm", HIDDEN)


def _vision_layer(at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield from _pair(f"{at}.self_attn.{name}", HIDDEN, HIDDEN)
    yield from _pair(f"{at}.mlp.fc1", INTERMEDIATE, HIDDEN)
    yield from _pair(f"{at}.mlp.fc2", HIDDEN, INTERMEDIATE)
    yield from _pair(f"{at}.layer_norm1", HIDDEN)
    yield from _pair(f"{at}.layer_norm2", HIDDEN)


def _pair(at: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.weight", shape
    yield f"{at}.bias", shape[:1]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m engines.testing.tiny_vision", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    make_idefics3(given.folder, given.seed)


if __name__ == "__main__":
    main()
