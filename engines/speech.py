"""A piece of a recording that a model writes down."""

from typing import Final

import msgspec

SAMPLE_RATE: Final = 16_000
"""Samples a second, of 16 bits with their sign, one channel: what models of speech listen to."""
BYTES_A_SAMPLE: Final = 2
TOKENS_A_SECOND: Final = 50
"""What Whisper's encoder makes of a second; what a second is billed as."""


class SpokenLanguage(msgspec.Struct):
    """What is spoken in a recording. Its pieces share one: an engine that is not told finds it in
    the first."""

    code: str | None = None
    """ISO 639-1; None: nobody has said."""


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """At most what the model hears at once."""

    samples: memoryview
    """Little-endian, at SAMPLE_RATE."""
    tokens: int
    """Its part of what the recording is billed as input."""
    language: SpokenLanguage
    translates: bool = False
    """Into English."""
    said_before: str = ""
    """By the request: names, a style, the end of what came before."""
    has_times: bool = False
    """Whether the text has marks like <|2.40|>: seconds from the piece's beginning."""
