"""Tiny rerankers of seeded weights: BERT's cross-encoder for transformers and vLLM, the same as a
GGUF, and a generative one of Qwen3's kind."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_lowercase, digits
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from engines.testing.tiny import (
    byte_tokenizer,
    llama_config,
    write_json,
    write_model,
    write_weights,
)
from tests.support.gguf_names import LAYER_NAMES
from tests.support.stored_tensors import stored_tensors

if TYPE_CHECKING:
    from gguf import GGUFWriter

HIDDEN, INNER, LAYERS, HEADS, CONTEXT_TOKENS = 64, 64, 2, 2, 128
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = [*ascii_lowercase, *digits, "?", "."]
WORDS = [*SPECIALS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
_GGUF_NAMES = {
    "bert.embeddings.word_embeddings": "token_embd",
    "bert.embeddings.position_embeddings": "position_embd",
    "bert.embeddings.token_type_embeddings": "token_types",
    "bert.embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
    "bert.pooler.dense": "cls",
    "classifier": "cls.output",
}
_QWEN3_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    **LAYER_NAMES,
}
QWEN3_SPECIALS = ("<|im_end|>", "<|im_start|>", "<|endoftext|>")


def make_cross_encoder(folder: Path, seed: int = 0, labels: int = 1, kinds: int = 2) -> Path:
    """BertForSequenceClassification. A letter is a token; query and document are of `kinds`."""
    folder.mkdir(parents=True, exist_ok=True)
    _word_pieces().save(str(folder / "tokenizer.json"))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    read = ["input_ids", "attention_mask", *(["token_type_ids"] if kinds > 1 else [])]
    tokenizer: dict[str, Any] = {
        "tokenizer_class": "BertTokenizerFast",
        "model_max_length": CONTEXT_TOKENS,
        "model_input_names": read,
    }
    write_json(
        folder / "tokenizer_config.json", tokenizer | dict(zip(names, SPECIALS, strict=True))
    )
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_act": "gelu",
        "max_position_embeddings": CONTEXT_TOKENS,
        "type_vocab_size": kinds,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "id2label": {str(n): f"LABEL_{n}" for n in range(labels)},
        "label2id": {f"LABEL_{n}": n for n in range(labels)},
        "torch_dtype": "bfloat16",
    }
    write_json(folder / "config.json", config)
    write_weights(folder / "model.safetensors", _bert_shapes(labels, kinds), seed, spread=0.2)
    return folder


def make_generative(folder: Path, seed: int = 0) -> Path:
    """Qwen3ForCausalLM over bytes, with "yes" and "no" among its tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_tokenizer(QWEN3_SPECIALS, ("yes", "no"))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("eos_token", "bos_token", "pad_token")
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096}
    write_json(
        folder / "tokenizer_config.json", values | dict(zip(names, QWEN3_SPECIALS, strict=True))
    )
    config = llama_config(tokenizer, *QWEN3_SPECIALS)
    write_model(folder, {**config, "model_type": "qwen3"}, "Qwen3ForCausalLM", seed)
    return folder


def make_gguf(folder: Path, to: Path) -> Path:
    """A cross-encoder of `make_cross_encoder` as llama.cpp reads it."""
    from gguf import GGUFWriter, PoolingType  # 0.5 s: tests import this file as they are collected

    writer = GGUFWriter(to, "bert")
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_file_type(0)
    writer.add_token_type_count(_tensor_rows(folder, "bert.embeddings.token_type_embeddings"))
    _add_words(writer)
    for name, values in stored_tensors(folder):
        writer.add_tensor(_gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def make_generative_gguf(folder: Path, to: Path, template: str) -> Path:
    """A model of `make_generative` as llama.cpp's converter writes it: its last layer is two rows
    of its tokens, and its prompt is `template`, with {query} and {document}."""
    from gguf import GGUFWriter, PoolingType

    config = json.loads((folder / "config.json").read_text("utf-8"))
    writer = GGUFWriter(to, "qwen3")
    writer.add_context_length(1024)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_pooling_type(PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])
    writer.add_string("tokenizer.chat_template.rerank", template)
    ids = _add_bytes(writer, folder)
    for name, values in stored_tensors(folder):
        writer.add_tensor(_qwen3_name(name), values)
        if name == "model.embed_tokens.weight":
            writer.add_tensor("cls.output.weight", values[[ids["yes"], ids["no"]]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def _add_bytes(writer: "GGUFWriter", folder: Path) -> dict[str, int]:
    """The byte tokenizer's tokens; returns their ids."""
    ids: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    tokens = sorted(ids, key=lambda token: ids[token])
    kinds = [3 if token in QWEN3_SPECIALS else 4 if token in ("yes", "no") else 1
             for token in tokens]  # fmt: skip
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Ā ā"])  # of two control characters: there must be one
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    return ids


def _qwen3_name(name: str) -> str:
    head, _, kind = name.rpartition(".")
    if not head.startswith("model.layers."):
        return f"{_QWEN3_NAMES[head]}.{kind}"
    layer, _, part = head.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{_QWEN3_NAMES[part]}.{kind}"


def qwen3_prompt(query: str, document: str, instruction: str) -> str:
    """By Qwen3-Reranker's model card."""
    return (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        f"<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def yes_against_no(folder: Path, prompt: str) -> tuple[float, int]:
    """Of "yes" against "no" after a prompt, as transformers has it, and the prompt's tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    words = [tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]
    with torch.no_grad():
        logits = model(ids).logits[0, -1, words]
    return float(logits.softmax(0)[1]), ids.shape[1]


def _add_words(writer: "GGUFWriter") -> None:
    """llama.cpp marks a word's beginning, transformers its going on."""
    words = [
        word if word in SPECIALS else word[2:] if word.startswith("##") else f"▁{word}"
        for word in WORDS
    ]
    writer.add_tokenizer_model("bert")
    writer.add_token_list(words)
    writer.add_token_types([3 if word in SPECIALS else 1 for word in WORDS])
    for name, id_ in (("pad", 0), ("unk", 1), ("bos", 2), ("sep", 3), ("eos", 3)):
        getattr(writer, f"add_{name}_token_id")(id_)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)  # [CLS] query [SEP] document [SEP]
    writer.add_add_sep_token(False)


def _word_pieces() -> Tokenizer:
    vocabulary = {word: id_ for id_, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(list(SPECIALS))
    return tokenizer


def _bert_shapes(labels: int, kinds: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    at = "bert.embeddings"
    yield f"{at}.word_embeddings.weight", (len(WORDS), HIDDEN)
    yield f"{at}.position_embeddings.weight", (CONTEXT_TOKENS, HIDDEN)
    yield f"{at}.token_type_embeddings.weight", (kinds, HIDDEN)
    yield from _with_bias(f"{at}.LayerNorm", HIDDEN)
    for layer in range(LAYERS):
        at = f"bert.encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            yield from _with_bias(f"{at}.attention.self.{name}", HIDDEN, HIDDEN)
        yield from _with_bias(f"{at}.attention.output.dense", HIDDEN, HIDDEN)
        yield from _with_bias(f"{at}.attention.output.LayerNorm", HIDDEN)
        yield from _with_bias(f"{at}.intermediate.dense", INNER, HIDDEN)
        yield from _with_bias(f"{at}.output.dense", HIDDEN, INNER)
        yield from _with_bias(f"{at}.output.LayerNorm", HIDDEN)
    yield from _with_bias("bert.pooler.dense", HIDDEN, HIDDEN)
    yield from _with_bias("classifier", labels, HIDDEN)


def _with_bias(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _tensor_rows(folder: Path, name: str) -> int:
    shapes: Mapping[str, Any] = {key: values.shape for key, values in stored_tensors(folder)}
    return int(shapes[f"{name}.weight"][0])


def _gguf_name(name: str) -> str:
    head, _, kind = name.rpartition(".")
    if not head.startswith("bert.encoder.layer."):
        return f"{_GGUF_NAMES[head]}.{kind}"
    layer, _, part = head.removeprefix("bert.encoder.layer.").partition(".")
    return f"blk.{layer}.{_GGUF_NAMES[part]}.{kind}"
