"""A custom tool's input, read out of its call's arguments while they come: {"input": "…"}."""

import json
import re

_BEGIN = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_WHOLE = re.compile(
    r'(?:[^"\\]|\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[0-9a-fA-F]{4}|(?=[^\\]|\\[^u]))'
    r"|\\u(?![dD][89abAB])[0-9a-fA-F]{4})*"
)
"""As many characters as are whole: half an escape, or half a pair of them, waits."""

_LONE = re.compile("[\ud800-\udfff]")


class CustomInput:
    """Feed it the arguments in order; `end` hands out what was no text of `input`."""

    def __init__(self) -> None:
        self._held = ""
        self._is_open = False
        self._is_over = False

    def feed(self, arguments: str) -> str:
        self._held += arguments
        if not self._is_open and (begin := _BEGIN.match(self._held)):
            self._is_open, self._held = True, self._held[begin.end() :]
        return self._text() if self._is_open and not self._is_over else ""

    def end(self) -> str:
        return "" if self._is_open else _only_text(self._held)

    def _text(self) -> str:
        whole = _WHOLE.match(self._held)
        assert whole is not None
        self._held = self._held[whole.end() :]
        self._is_over = self._held.startswith('"')
        return _unescaped(whole[0])


def _unescaped(text: str) -> str:
    """As it stands where an escape is none; half a surrogate pair is no character."""
    try:
        return _LONE.sub("\ufffd", json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


def _only_text(arguments: str) -> str:
    """A model that chose another name for it, or none, meant the text all the same."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    texts = list(value.values()) if isinstance(value, dict) else [value]
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else arguments
