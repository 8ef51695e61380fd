"""Log probabilities in OpenAI's older form: arrays side by side."""

import codecs
from collections.abc import Iterator, Sequence

from typing_extensions import TypedDict

from engines.base import TokenLogprob
from server.api.chat.stream import finite


class LegacyLogprobs(TypedDict):
    """null: of the prompt's first token, which nothing stands before."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


def logprobs_body(tokens: Sequence[TokenLogprob], offset: int) -> LegacyLogprobs:
    """Of what was generated; the chosen token is always among the top ones."""
    offsets = []
    for x in tokens:
        offsets.append(offset)
        offset += len(x.token)
    return _body(tokens, offsets)


def prompt_body(tokens: Sequence[TokenLogprob], before: int = 0) -> LegacyLogprobs:
    """Of the prompt before it. `before`: so many of the tokens' characters are not in the text."""
    body = _body(tokens, [max(0, offset - before) for offset in _offsets(tokens)])
    if tokens:
        body["token_logprobs"][0] = body["top_logprobs"][0] = None
    return body


def prompt_text(tokens: Sequence[TokenLogprob]) -> str:
    """What the tokens of a prompt spell."""
    return b"".join(bytes(x.bytes) for x in tokens).decode("utf-8", "replace")


def _offsets(tokens: Sequence[TokenLogprob]) -> Iterator[int]:
    """Where in the text each begins; one inside of a character, where that character does."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    offset = 0
    for x in tokens:
        yield offset
        offset += len(decoder.decode(bytes(x.bytes)))


def _body(tokens: Sequence[TokenLogprob], offsets: list[int]) -> LegacyLogprobs:
    return {
        "tokens": [x.token for x in tokens],
        "token_logprobs": [finite(x.logprob) for x in tokens],
        "top_logprobs": [{t.token: finite(t.logprob) for t in (*x.top, x)} for x in tokens],
        "text_offset": offsets,
    }
