"""A GGUF file -> ModelFiles: its header alone is read."""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

from engines.checking.findings import bounded, fail
from engines.checking.model_files import ModelFiles, StopIds, StoredVocabulary
from engines.gguf import BadGguf, GgufFile, has_classifier
from engines.llamacpp.gguf_metadata import SPECIAL_TOKENS

_STOPS = ("eos_token_id", "eot_token_id", "eom_token_id")
STOP_TEXTS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>"),
        *("<|calls|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<EOT>", "_<EOT>"),
        *("<|end_of_text|>", "<end_of_utterance>", "<turn|>", "<｜end▁of▁sentence｜>"),
    }
)
"""llama.cpp ends an answer at a token of this name, whatever the metadata say."""
_SPECIAL, _HIDDEN = (2, 3, 4), (2, 3)
"""GGUF's token types: unknown, control, user's."""
FILE_TYPES = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K"},
    **{11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S"},
    **{17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS"},
    **{23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S"},
    **{29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4"},
}
"""general.file_type -> what most of its weights are."""


def read_gguf(path: Path) -> ModelFiles:
    """Raises nothing: what is damaged is told in `damage`."""
    try:
        if not path.stat().st_size:
            raise BadGguf("it is empty")
        with contextlib.closing(GgufFile(path)) as file:
            return _read(file)
    except (BadGguf, OSError, ValueError, struct.error, RecursionError, OverflowError) as error:
        cause = error.__cause__ or error
        why = cause.strerror if isinstance(cause, OSError) else cause
        what = fail("config.gguf", f"{path.name} is no readable GGUF file: {bounded(why)}")
        return ModelFiles(kind="gguf", damage=(what,))


def _read(file: GgufFile) -> ModelFiles:
    tokens = file.strings("tokenizer.ggml.tokens")
    types = file.numbers("tokenizer.ggml.token_type")
    kinds = list(zip(tokens, types, strict=False))
    template = file.get("tokenizer.chat_template")
    texts = {name: file.token(key) for name, key in SPECIAL_TOKENS.items()}
    return ModelFiles(
        kind="gguf",
        config={
            "architectures": [str(file.get("general.architecture", "unknown"))],
            "max_position_embeddings": file.get("{arch}.context_length"),
            "file_type": file.get("general.file_type"),
            "has_classifier": has_classifier(file),
        },
        template=template if isinstance(template, str) else None,
        special_tokens={name: text for name, text in texts.items() if text is not None},
        vocabulary=StoredVocabulary(
            ids={token: index for index, token in enumerate(tokens)},
            special=frozenset(token for token, kind in kinds if kind in _SPECIAL),
            hidden=frozenset(token for token, kind in kinds if kind in _HIDDEN),
        )
        if tokens
        else None,
        is_causal=file.get("{arch}.attention.causal") is not False,
        stops=tuple(_stops(file)),
        stop_texts=STOP_TEXTS,
    )


def _stops(file: GgufFile) -> Iterator[StopIds]:
    for name in _STOPS:
        value = file.get(f"tokenizer.ggml.{name}")
        if isinstance(value, int):
            yield StopIds(where=name, ids=(value,))
