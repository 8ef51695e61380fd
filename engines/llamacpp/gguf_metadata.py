"""What a GGUF file says of itself, before anything is loaded."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from engines.base import EngineUnavailable
from engines.gguf import BadGguf, GgufFile
from engines.llamacpp.chat_template import ChatTemplate
from engines.llamacpp.reranking import Ranks
from engines.registry.spec import Task
from engines.text_bound import longest_token_bytes

SPECIAL_TOKENS = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}
_FOUND_IN_TEXT = (2, 3, 4)
"""GGUF's token types of the tokens that are looked for in plain text: unknown, control, user's."""

_HIDDEN = (2, 3)
"""Those among them that text leaves out: llguidance lets no text be one of them."""


class GgufMetadata:
    """Raises EngineUnavailable."""

    def __init__(self, path: Path, task: Task) -> None:
        try:
            file = GgufFile(path)
        except BadGguf as error:
            raise EngineUnavailable(str(error)) from error
        with contextlib.closing(file):
            self.ranks = Ranks.of(file) if task == "rerank" else None
            self.trained_tokens = int(file.get("{arch}.context_length") or 2**31 - 1)
            source = file.get("tokenizer.chat_template")
            self.template = ChatTemplate(source, _special_tokens(file)) if source else None
            self.template_source = source
            self.first_text = file.token(SPECIAL_TOKENS["bos_token"]) or ""
            end_id = file.get(SPECIAL_TOKENS["eos_token"])
            self.end_id = end_id if isinstance(end_id, int) else None
            tokens = file.strings("tokenizer.ggml.tokens")
            types = file.numbers("tokenizer.ggml.token_type")
            self.longest_token_bytes = longest_token_bytes(tokens)
            kinds = list(zip(tokens, types, strict=False))
            self.special_texts = [token for token, kind in kinds if kind in _FOUND_IN_TEXT]
            self.hidden_texts = frozenset(token for token, kind in kinds if kind in _HIDDEN)


def _special_tokens(file: GgufFile) -> Mapping[str, str]:
    texts = {name: file.token(key) for name, key in SPECIAL_TOKENS.items()}
    return {name: text for name, text in texts.items() if text is not None}
