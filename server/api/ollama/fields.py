"""What comes of Ollama's fields that its wire types here have no place for."""

from collections.abc import Mapping
from typing import Final

from server.api.fields import LEAVE_OUT, NONE, OFF, ON, Refused

_LONGER = "a shorter conversation: none is cut unasked"

OLLAMA: Final[Mapping[str, Refused]] = {
    "template": Refused("messages", ("",)),
    "suffix": Refused("a prompt that says it", ("",)),
    "context": Refused("messages of /api/chat", NONE),
    "truncate": Refused(_LONGER, OFF),
    "shift": Refused(_LONGER, OFF),
    "width": Refused("a prompt for text", (0,)),
    "height": Refused("a prompt for text", (0,)),
    "steps": Refused("a prompt for text", (0,)),
    "input": Refused("/api/embed"),
}
OPTIONS: Final[Mapping[str, Refused]] = {
    "typical_p": Refused("top_p", (1,)),
    "tfs_z": Refused("top_p", (1,)),
    "mirostat": Refused("temperature", (0,)),
    "penalize_newline": Refused(LEAVE_OUT, ON),
}
EMBED: Final[Mapping[str, Refused]] = {
    "messages": Refused("input"),
    "images": Refused("a text", NONE),
}
OF_A_PENALTY: Final[Mapping[str, Refused]] = {
    "repeat_last_n": Refused("repeat_penalty alone, which counts all tokens", (-1,)),
}
"""Beside a repeat_penalty; without one it has no effect."""
NAMES: Final[Mapping[str, str]] = {
    "temperature": "options.temperature",
    "top_p": "options.top_p",
    "top_k": "options.top_k",
    "min_p": "options.min_p",
    "stop": "options.stop",
    "seed": "options.seed",
    "max_tokens": "options.num_predict",
    "repetition_penalty": "options.repeat_penalty",
    "presence_penalty": "options.presence_penalty",
    "frequency_penalty": "options.frequency_penalty",
    "response_format": "format",
    "response_format.json_schema.schema": "format",
    "reasoning_effort": "think",
    "thinking.type": "think",
}
"""Chat's field names, as errors say them -> Ollama's."""
