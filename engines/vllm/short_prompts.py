"""Short prompts, made on the event loop: a hop to a thread and back wakes two threads and costs
more than the prompt does, and the interpreter is kept either way."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engines.base import GenerateRequest
from engines.text_bound import request_characters
from engines.vllm.plain_render import PlainRenderer
from engines.vllm.render import Renderer

CHARACTERS: Final = 1_000
MESSAGES: Final = 8
MOST_S: Final = 0.001
"""So long they may keep the loop. A template or a tokenizer that takes longer keeps to threads."""
_TRIES: Final = 3


class ShortPrompts:
    """One engine's. Belongs to the event loop."""

    def __init__(self, renderer: Renderer) -> None:
        """Measures what the longest of them take."""
        self._renderer = renderer
        self._is_quick = renderer.plain is not None and is_quick(renderer.plain)

    def of(self, request: GenerateRequest) -> Mapping[str, Any] | None:
        """vLLM's engine input; None: a thread's. Raises InvalidRequest."""
        if not self._is_quick or request_characters(request) > CHARACTERS:
            return None
        messages, text = request.messages, request.prompt
        if messages is not None:
            if len(messages) > MESSAGES or request.tools:
                return None
            return self._renderer.plain_chat(request)
        return self._renderer.prompt(request) if text and isinstance(text, str) else None


def is_quick(plain: PlainRenderer) -> bool:
    return all(_s_taken(plain, chat) <= MOST_S for chat in _longest())


def _s_taken(plain: PlainRenderer, chat: Sequence[Mapping[str, str]]) -> float:
    """The least of a few tries, the first of which compiles the template."""
    taken = []
    for _ in range(_TRIES):
        began = time.thread_time()
        is_rendered = plain.chat(chat, {}) is not None
        taken.append(time.thread_time() - began)
        if not is_rendered:
            return float("inf")
    return min(taken)


def _longest() -> Iterator[Sequence[Mapping[str, str]]]:
    """The longest text, and the most messages."""
    text = " ".join(f"word{number}" for number in range(CHARACTERS))
    yield [{"role": "user", "content": text[:CHARACTERS]}]
    roles = ("user", "assistant")
    size = CHARACTERS // MESSAGES
    yield [
        {"role": roles[number % 2], "content": text[number * size : (number + 1) * size]}
        for number in range(MESSAGES - 1)
    ]
