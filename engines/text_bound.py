"""How much text can fit a context at all: told before it is tokenised, which takes a second a
million characters and more."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.base import ContextLengthExceeded, GenerateRequest, InvalidRequest
from engines.content import text_of

LONG_TEXT_CHARACTERS = 2**19
"""From here on a text is tokenised apart, so that no ordinary one waits behind it."""
PIECE_CHARACTERS = 2**14
MOST_READ_TOKENS = 2**19
"""Of a text that need not fit, since it will be cut or a template may leave it out."""
_STRAY_TOKENS = 256
"""Of a piece: where a cut makes several tokens of one."""


@dataclass(frozen=True, slots=True)
class TextBound:
    """One engine's. `longest_token_bytes`: of the vocabulary; None: a token may stand for a text of
    any length (an unknown word, white space that is dropped), so that nothing can be said."""

    context_tokens: int
    longest_token_bytes: int | None

    def check_characters(self, characters: int) -> None:
        """Raises ContextLengthExceeded, with the fewest tokens that such a text can have. A
        character is a byte at least, so that a count of characters is on the safe side."""
        longest = self.longest_token_bytes
        if longest is None or characters <= self.context_tokens * longest:
            return
        least_tokens = -(-characters // longest)
        raise ContextLengthExceeded(least_tokens, None, self.context_tokens, characters=characters)

    def check_tokens(self, texts: Sequence[str], count: Callable[[str], int]) -> None:
        """Of long texts, before they are tokenised whole: four million tokens keep the interpreter
        from everybody for 0.2 s when they become a list, and when they are freed. `count` tokenises
        a piece. Raises ContextLengthExceeded where the pieces have twice the context's tokens."""
        if counted := _over(2 * self.context_tokens, texts, count):
            context, least = self.context_tokens, counted // 2
            raise ContextLengthExceeded(least, None, context, characters=sum(map(len, texts)))

    def check_read(self, texts: Sequence[str], count: Callable[[str], int], param: str) -> None:
        """As `check_tokens`, of texts that are longer than what is kept of them. Raises
        InvalidRequest."""
        most = max(MOST_READ_TOKENS, 2 * self.context_tokens)
        if _over(most, texts, count):
            characters = sum(map(len, texts))
            message = f"A text of {characters} characters has more than {most} tokens"
            raise InvalidRequest(
                f"{message}, too many to be read for what is kept of it.",
                param,
                f"a text of at most {most} tokens",
                f"{characters} characters",
            )


def _over(most_tokens: int, texts: Sequence[str], count: Callable[[str], int]) -> int:
    """Tokens of long texts' first pieces, where those are more; else 0."""
    if sum(map(len, texts)) < LONG_TEXT_CHARACTERS:
        return 0
    tokens = 0
    for piece in _pieces(texts):
        tokens += max(0, count(piece) - _STRAY_TOKENS)
        if tokens > most_tokens:
            return tokens
    return 0


def _pieces(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        for begin in range(0, len(text), PIECE_CHARACTERS):
            yield text[begin : begin + PIECE_CHARACTERS]


def kept_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What any template keeps: some trim each message, or leave old thoughts out of the
    assistant's."""
    said = (message.get("content") for message in messages if message["role"] != "assistant")
    return [text_of(content).strip() for content in said if content is not None]


def all_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a template may write of them, thoughts and calls included."""
    texts = (text for message in messages for text in _texts_of(message))
    return [text for text in texts if isinstance(text, str) and text]


def _texts_of(message: Mapping[str, Any]) -> Iterable[Any]:
    yield text_of(message.get("content"))
    yield message.get("reasoning")
    for call in message.get("tool_calls") or ():
        yield call["function"]["arguments"]


def request_characters(request: GenerateRequest) -> int:
    """About as many as its prompt will have, before a template or a tokenizer has seen it."""
    if request.messages is None:
        return len(request.prompt or "")
    return sum(len(text_of(message.get("content"))) for message in request.messages)


def longest_token_bytes(tokens: Sequence[str]) -> int | None:
    """Of a vocabulary whose tokens spell every byte of a text: letters that stand for bytes (as in
    GPT-2), or pieces of text with `<0x00>` to `<0xFF>` for what they lack. None for another."""
    known = set(tokens)
    if all(f"<0x{byte:02X}>" in known for byte in range(256)):
        return max(len(token.encode()) for token in tokens)
    if known >= _LETTERS:
        return max(map(len, tokens))
    return None


_LETTERS = {*map(chr, range(0x21, 0x7F)), *map(chr, range(0x120, 0x140)), "Ġ", "Ċ"}
"""GPT-2 writes a byte that can be printed as itself, a space as Ġ, others as the letters from
U+0100 on. Control characters that a vocabulary has no letter for (SmolLM2's lacks six) are dropped:
a text of millions of those is refused though it would be short."""
