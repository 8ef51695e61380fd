"""A tokenizer that is code of the model's own folder, as Kimi K2's is: tiktoken over bytes."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from engines.testing.tiny import write_json
from engines.vllm.vocabulary import BYTE_OF_LETTER

_CODE = """
import base64

import tiktoken
from transformers import PreTrainedTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode


class TikTokenTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tiktoken.model"}

    def __init__(self, vocab_file, **kwargs):
        with open(vocab_file, "rb") as file:
            lines = file.read().splitlines()
        ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
        added = kwargs["added_tokens_decoder"].items()
        marks = {str(token): int(place) for place, token in added}
        self.model = tiktoken.Encoding(
            "tiny", pat_str=r"[\\s\\S]", mergeable_ranks=ranks, special_tokens=marks
        )
        self._letters = bytes_to_unicode()
        self._bytes = {letter: byte for byte, letter in self._letters.items()}
        self._ids = {self._letters[token[0]]: rank for token, rank in ranks.items()}
        self._tokens = {rank: letter for letter, rank in self._ids.items()}
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return self.model.n_vocab

    def get_vocab(self):
        return self._ids | self.added_tokens_encoder

    def _tokenize(self, text, **kwargs):
        return [self._letters[byte] for byte in text.encode()]

    def _convert_token_to_id(self, token):
        return self._ids[token]

    def _convert_id_to_token(self, index):
        return self._tokens[index]

    def convert_tokens_to_string(self, tokens):
        read = bytes(self._bytes[letter] for letter in "".join(tokens))
        return read.decode("utf-8", "replace")

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()
"""


def write_remote_tokenizer(folder: Path, specials: Sequence[str], marks: Sequence[str]) -> None:
    """Beside a tokenizer_config.json, which then names the code. The same ids as
    engines.testing.tiny.byte_tokenizer's."""
    (folder / "tokenization_kimi.py").write_text(_CODE)
    ranks = ((bytes([byte]), rank) for byte, rank in _ranks().items())
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks)
    (folder / "tiktoken.model").write_text("".join(lines))
    path = folder / "tokenizer_config.json"
    added = {
        str(256 + place): {"content": text, "special": text in specials, "normalized": False}
        for place, text in enumerate((*specials, *marks))
    }
    code = {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]}
    named = {"tokenizer_class": "TikTokenTokenizer", "auto_map": code}
    write_json(path, {**json.loads(path.read_text()), **named, "added_tokens_decoder": added})


def _ranks() -> dict[int, int]:
    """Byte -> id: the order of byte-level BPE's letters for them."""
    letters = sorted(BYTE_OF_LETTER)
    return {BYTE_OF_LETTER[letter]: rank for rank, letter in enumerate(letters)}
