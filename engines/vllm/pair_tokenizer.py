"""A query and a document -> the tokens that a vLLM reranker reads, without vLLM's endpoints."""

from typing import Any

from engines.base import EngineBroken, InvalidRequest
from engines.pair_fit import ReadPair
from engines.vllm.plain_render import rust_tokenizer

_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""Of Qwen3-Reranker's model card, as all of its prompt."""


class VllmPairTokenizer:
    """Of one engine; safe to use from several threads. Raises EngineBroken."""

    def __init__(self, llm: Any) -> None:
        """Copies the tokenizer: nobody else's truncation or padding is on this one."""
        inside = rust_tokenizer(llm.tokenizer)
        if inside is None:
            raise EngineBroken("A reranker needs a tokenizer of the tokenizers library.")
        self._tokenizer = type(inside).from_str(inside.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        config = llm.model_config.hf_config
        self._is_generative = bool(getattr(config, "is_original_qwen3_reranker", False))
        self._is_joined = not llm.model_config.use_sep_token
        # A tokenizer may tell kinds apart that its model has no row for.
        has_rows = getattr(config, "type_vocab_size", 2) > 1
        names = getattr(llm.tokenizer, "model_input_names", ())
        self._has_kinds = has_rows and "token_type_ids" in names

    def read(self, query: str, document: str, instruction: str | None) -> ReadPair:
        if self._is_generative:
            return self._whole(_judged(query, document, instruction or _INSTRUCTION))
        if instruction is not None:
            message = "This model's prompt has no place for an instruction."
            raise InvalidRequest(message, "instruction", "no instruction")
        if self._is_joined:  # a language model with a head for scores
            return self._whole(query + document)
        encoded = self._tokenizer.encode(query, document)
        return ReadPair(encoded.ids, self._second_at(encoded.type_ids))

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def cut(self, text: str, most_tokens: int, *, keeps_end: bool) -> str:
        """By the tokens' places in the text; what is left may be read in more tokens than it was
        before the cut, and is then cut again."""
        while text:
            offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
            if len(offsets) <= most_tokens:
                break
            if keeps_end:
                text = text[max(offsets[-most_tokens][0], 1) :]
            else:
                text = text[: min(offsets[most_tokens - 1][1], len(text) - 1)]
        return text

    def _whole(self, text: str) -> ReadPair:
        return ReadPair(self._tokenizer.encode(text).ids)

    def _second_at(self, kinds: list[int]) -> int | None:
        return kinds.index(1) if self._has_kinds and 1 in kinds else None


def _judged(query: str, document: str, instruction: str) -> str:
    return (
        f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: {instruction}\n"
        f"<Query>: {query}\n<Document>: {document}<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
