"""A tiny random Whisper: hears recordings and writes nonsense, with the real one's tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.testing.tiny import byte_tokenizer, write_json, write_weights
from server.api.audio.languages import LANGUAGES

WIDTH, INNER, BANDS, HEARD, WRITTEN = 64, 128, 80, 1500, 448
END, START = "<|endoftext|>", "<|startoftranscript|>"
SPECIALS = (
    *(END, START),
    *(f"<|{code}|>" for code in LANGUAGES),
    *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>"),
    *("<|nospeech|>", "<|notimestamps|>"),
)
TIMES = tuple(f"<|{second}.00|>" for second in range(31))
"""Of the real one's 1,501: a random model would say little else."""


def make_whisper(folder: Path, seed: int = 0) -> Path:
    """Under 1 MB. The same seed gives the same bytes. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer(SPECIALS, TIMES)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: tokenizer.token_to_id(name) for name in SPECIALS}
    names = {f"{which}_token": END for which in ("bos", "eos", "pad", "unk")}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": WRITTEN, **names},
    )
    ends = {f"{which}_token_id": ids[END] for which in ("bos", "eos", "pad")}
    ends |= {"decoder_start_token_id": ids[START]}
    write_json(folder / "config.json", _config(tokenizer.get_vocab_size()) | ends)
    write_json(folder / "generation_config.json", ends)
    write_json(folder / "preprocessor_config.json", _features())
    write_weights(folder / "model.safetensors", _shapes(tokenizer.get_vocab_size()), seed, 0.5)
    return folder


def _config(vocabulary: int) -> dict[str, Any]:
    layers = {
        f"{half}_{name}": value
        for half in ("encoder", "decoder")
        for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", INNER))
    }
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "vocab_size": vocabulary,
        "d_model": WIDTH,
        "num_mel_bins": BANDS,
        "max_source_positions": HEARD,
        "max_target_positions": WRITTEN,
        "activation_function": "gelu",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **layers,
    }


def _features() -> dict[str, Any]:
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": BANDS,
        "sampling_rate": 16_000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def _shapes(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _with_bias("model.encoder.conv1", WIDTH, BANDS, 3)
    yield from _with_bias("model.encoder.conv2", WIDTH, WIDTH, 3)
    yield "model.encoder.embed_positions.weight", (HEARD, WIDTH)
    yield "model.decoder.embed_tokens.weight", (vocabulary, WIDTH)
    yield "model.decoder.embed_positions.weight", (WRITTEN, WIDTH)
    for half, attentions in (
        ("encoder", ("self_attn",)),
        ("decoder", ("self_attn", "encoder_attn")),
    ):
        at = f"model.{half}.layers.0"
        for attention in attentions:
            yield f"{at}.{attention}.k_proj.weight", (WIDTH, WIDTH)
            for name in ("q_proj", "v_proj", "out_proj"):
                yield from _with_bias(f"{at}.{attention}.{name}", WIDTH, WIDTH)
            yield from _with_bias(f"{at}.{attention}_layer_norm", WIDTH)
        yield from _with_bias(f"{at}.fc1", INNER, WIDTH)
        yield from _with_bias(f"{at}.fc2", WIDTH, INNER)
        yield from _with_bias(f"{at}.final_layer_norm", WIDTH)
        yield from _with_bias(f"model.{half}.layer_norm", WIDTH)


def _with_bias(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]
