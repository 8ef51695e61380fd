"""Requests that show pictures to an engine itself, and what its answers say."""

import io
from typing import Any

from PIL import Image

from engines.base import Delta, Engine, GenerateRequest
from engines.content import Picture
from tests.support.engine_fixtures import ask


def seen(*said: str | bytes, **fields: Any) -> GenerateRequest:
    """A request whose message has these, in their order."""
    parts: list[Any] = [
        {"type": "text", "text": each}
        if isinstance(each, str)
        else {"type": "picture", "picture": Picture(each, *_size(each))}
        for each in said
    ]
    fields = {"logprobs": 0, "max_tokens": 12, **fields}
    return ask(messages=[{"role": "user", "content": parts}], **fields)


async def prompt_tokens(engine: Engine, request: GenerateRequest) -> int:
    return (await engine.render(request)).token_count


def words(deltas: list[Delta]) -> list[str]:
    """Each token's text: a random model says halves of characters, which have none."""
    return [choice.token for d in deltas for choice in d.logprobs]


def first_logprob(deltas: list[Delta]) -> float:
    return next(choice.logprob for d in deltas for choice in d.logprobs)


def _size(file: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(file)) as image:
        return image.size
