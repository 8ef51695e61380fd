"""Streams whose every chunk has the usage so far (vLLM's continuous_usage_stats)."""

from collections.abc import Callable

import msgspec

from engines.base import Delta, Usage
from server.api.chat.stream import ChatStream, usage_body


def usage_tail(usage: Usage) -> bytes:
    """The end of a chunk that says it."""
    return b',"usage":' + msgspec.json.encode(usage_body(usage)) + b"}\n\n"


def at_the_beginning(usage: Usage) -> Usage:
    """Before anything was said."""
    return Usage(prompt_tokens=usage.prompt_tokens)


class MeteredChatStream(ChatStream):
    """As a ChatStream; the running counts are those of all choices together."""

    __slots__ = ("_usage",)

    _usage: Callable[[], Usage]

    def follow(self, usage: Callable[[], Usage]) -> None:
        self._usage = usage

    def open(self) -> bytes:
        self._tail = usage_tail(at_the_beginning(self._usage()))
        return super().open()

    def delta(self, d: Delta) -> bytes:
        self._tail = usage_tail(self._usage())
        return super().delta(d)
