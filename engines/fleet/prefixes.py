"""A request -> hashes of its prompt's beginnings, by which replicas with a warm cache are found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines.base import GenerateRequest
from engines.content import PICTURE
from engines.fleet.routing import Prefixes

LENGTHS = (256, 1024, 4096, 16_384)
"""Characters: 64 to 4,096 tokens, more or less. A prompt that is shorter counts whole."""
_TOKEN_CHARACTERS = 4


def prefixes_of(request: GenerateRequest) -> Prefixes:
    """Those of its text before any template, since the engine that renders it is not chosen yet:
    equal beginnings of requests to one alias are equal beginnings of prompts. What an adapter made
    of one is of no use to another, nor what was made under another salt."""
    found = _of_prompt(request)
    salt = None if request.shared_prompts else request.cache_salt
    if request.adapter is None and salt is None:
        return found
    name = None if request.adapter is None else request.adapter.name
    return [hash((name, salt, beginning)) for beginning in found]


def _of_prompt(request: GenerateRequest) -> Prefixes:
    if request.prompt is not None and not isinstance(request.prompt, str):
        return _of_tokens(request.prompt)
    text = request.prompt if request.prompt is not None else _text(request)
    return _hashes(text[: LENGTHS[-1]], LENGTHS)


def _of_tokens(token_ids: Sequence[int]) -> Prefixes:
    lengths = [length // _TOKEN_CHARACTERS for length in LENGTHS]
    return _hashes(tuple(token_ids[: lengths[-1]]), lengths)


def _hashes(whole: str | tuple[int, ...], lengths: Sequence[int]) -> Prefixes:
    """Of each length that the whole reaches, and of the whole where it is the longest."""
    if not whole:
        return ()
    reached = [length for length in lengths if length < len(whole)]
    return [*(hash(whole[:length]) for length in reached), hash(whole)]


def _text(request: GenerateRequest) -> str:
    pieces: list[str] = [tool.name for tool in request.tools]
    room = LENGTHS[-1]
    for piece in _pieces(request.messages or ()):
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            break
    return "\x00".join(pieces)


def _pieces(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for message in messages:
        yield str(message.get("role"))
        content = message.get("content")
        if isinstance(content, list):
            yield from map(_of_part, content)
        else:
            yield content if isinstance(content, str) else ""


def _of_part(part: Mapping[str, Any]) -> str:
    return str(part[PICTURE].digest if part["type"] == PICTURE else part["text"])
