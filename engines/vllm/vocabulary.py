"""What is asked of a model's tokenizer while answers stream: think marks, tokens' bytes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from engines.answers.thinking import ThinkingSplitter, as_prompted, is_closed
from engines.base import GenerateRequest, Prompt, Reasoning, TokenLogprob

UNFINISHED = "\ufffd"
"""What a text ends with whose last character is not whole."""
_LOWEST = -9999.0
"""JSON has no infinity; OpenAI's documentation names this value for it."""
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """One model's; answers are remembered, since a tokenizer takes microseconds for each."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._bytes: dict[int, bytes | None] = {}
        self._ids: dict[str, int | None] = {}
        self._ends: dict[int, bool] = {}
        self._special = frozenset(tokenizer.all_special_ids)
        self._added = frozenset(tokenizer.get_added_vocab().values())

    def splitter(self, reasoning: Reasoning) -> ThinkingSplitter:
        return ThinkingSplitter(reasoning, *self.marks(reasoning), self._decode)

    def request_as_prompted(self, request: GenerateRequest, prompt: Prompt) -> GenerateRequest:
        """The request, with its thinking as its prompt leaves off."""
        if request.reasoning is None:
            return request
        return replace(request, reasoning=self.as_prompted(request.reasoning, prompt.token_ids))

    def as_prompted(self, reasoning: Reasoning, prompt_ids: Sequence[int]) -> Reasoning:
        return as_prompted(reasoning, prompt_ids, *self.marks(reasoning))

    def is_closed(self, reasoning: Reasoning, prompt_ids: Sequence[int]) -> bool:
        return is_closed(prompt_ids, *self.marks(reasoning))

    def marks(self, reasoning: Reasoning) -> tuple[int | None, int | None]:
        """The ids of its start and end, where they are single tokens."""
        return self.token_id(reasoning.start), self.token_id(reasoning.end)

    def hides(self, reasoning: Reasoning) -> bool:
        """Whether the marks are special tokens, which text leaves out unless it is told."""
        return not self._special.isdisjoint({*self.marks(reasoning)} - {None})

    def is_special(self, token_id: int) -> bool:
        """Whether text leaves it out unless it is told."""
        return token_id in self._special

    def token_id(self, text: str) -> int | None:
        """The id of the single token that is exactly `text`."""
        if text not in self._ids:
            ids = self._tokenizer.encode(text, add_special_tokens=False)
            self._ids[text] = ids[0] if len(ids) == 1 else None
        return self._ids[text]

    def ends_character(self, token_id: int) -> bool:
        """Whether it surely does: its own text, shown as answers are, is there and whole."""
        known = self._ends.get(token_id)
        if known is None:
            text = self._tokenizer.decode([token_id], skip_special_tokens=True)
            known = self._ends[token_id] = bool(text) and not text.endswith(UNFINISHED)
        return known

    def _decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def logprobs(
        self, token_ids: Sequence[int], positions: Sequence[Mapping[int, Any]], top: int
    ) -> tuple[TokenLogprob, ...]:
        """vLLM's: at each position the chosen token's and the likeliest ones', by id."""
        return tuple(
            self._logprob(token_id, entries[token_id], self._top(entries, top))
            for token_id, entries in zip(token_ids, positions, strict=True)
        )

    def without_probability(self, token_id: int) -> TokenLogprob:
        """A token that nothing stands before."""
        raw = self.raw(token_id)
        text = self._decode([token_id]) if raw is None else raw.decode("utf-8", "backslashreplace")
        return TokenLogprob(text, 0.0, tuple(text.encode() if raw is None else raw))

    def _top(self, entries: Mapping[int, Any], top: int) -> tuple[TokenLogprob, ...]:
        if not top:
            return ()
        likeliest = sorted(entries.items(), key=lambda entry: entry[1].rank)[:top]
        return tuple(self._logprob(token_id, entry, ()) for token_id, entry in likeliest)

    def _logprob(self, token_id: int, entry: Any, top: tuple[TokenLogprob, ...]) -> TokenLogprob:
        text = entry.decoded_token or ""
        raw = self.raw(token_id)
        if raw is None:
            raw = text.encode("utf-8", "surrogatepass")
        # A part of a character has no text: OpenAI writes its bytes as \xNN.
        token = raw.decode("utf-8", "backslashreplace")
        return TokenLogprob(token, max(entry.logprob, _LOWEST), tuple(raw), top)

    def raw(self, token_id: int) -> bytes | None:
        """A token's exact bytes; None where the vocabulary does not show them."""
        if token_id not in self._bytes:
            self._bytes[token_id] = self._read(token_id)
        return self._bytes[token_id]

    def _read(self, token_id: int) -> bytes | None:
        letters = self._tokenizer.convert_ids_to_tokens([token_id])[0]
        if letters is None:
            return None
        if token_id in self._added:
            return str(letters).encode()
        if byte := _BYTE.fullmatch(letters):
            return bytes([int(byte[1], 16)])
        if "\u2581" in letters:  # SentencePiece's space
            return str(letters).replace("\u2581", " ").encode()
        try:
            return bytes(BYTE_OF_LETTER[letter] for letter in letters)
        except KeyError:
            return None


def _byte_of_letter() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable letter; GPT-2's table, all use it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + position): byte for position, byte in enumerate(others)
    }


BYTE_OF_LETTER = _byte_of_letter()
