"""Chats with pictures -> prompts with llama.cpp's marks, and how many tokens they have."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engines.base import EngineError, EngineUnavailable, InvalidRequest, Prompt
from engines.content import PICTURE, Picture
from engines.llamacpp.http_client import HttpClient
from engines.llamacpp.pictures import PicturePrompt, blank, sizes
from engines.truncation import TextEnds

PICTURE_TOKEN = -1
"""In a prompt's ids, where a picture's tokens stand, which have none."""

TokensOf = Callable[[str], Sequence[int]]


class PicturePrompts:
    """One model's that reads pictures. Everything blocks."""

    def __init__(self, http: HttpClient, ends: TextEnds, first_text: str) -> None:
        """`ends`: what llama.cpp puts around every such prompt; `first_text`: of its first token.
        Raises EngineUnavailable where the projector has no eyes."""
        self._http, self._ends, self._first_text = http, ends, first_text
        told = http.properties()
        self._mark = str(told["media_marker"])
        if not told["modalities"]["vision"]:
            raise EngineUnavailable("its projector reads no pictures")
        self._key = secrets.token_hex(16)
        """Nobody who writes a text knows it."""
        self._marks = re.compile(f"<{self._key}:([0-9]+)>")

    def marked(self, messages: Sequence[Mapping[str, Any]], pictures: list[Picture]) -> list[Any]:
        """As texts, with a mark of ours for each picture, which goes into `pictures`."""
        return [self._marked(message, pictures) for message in messages]

    def _marked(self, message: Mapping[str, Any], pictures: list[Picture]) -> Mapping[str, Any]:
        if not isinstance(content := message.get("content"), list):
            return message
        said = []
        for part in content:
            if part["type"] == PICTURE:
                said.append(f"<{self._key}:{len(pictures)}>")
                pictures.append(part[PICTURE])
            else:
                said.append(part["text"])
        return {**message, "content": "".join(said)}

    def prompt(
        self, text: str, pictures: Sequence[Picture], salt: str | None, tokens_of: TokensOf
    ) -> Prompt:
        """Of a text that the template made. Raises InvalidRequest, ContextLengthExceeded."""
        pieces, shown = self._in_order(text, pictures)
        tokens = [tokens_of(piece) if piece else () for piece in pieces]
        seen = self._picture_tokens(pieces, shown, sum(map(len, tokens)))
        known_as = [*self._ends.first, *tokens[0]]
        for picture, count, said in zip(shown, seen, tokens[1:], strict=True):
            known_as += [_known_as(picture)] * count
            known_as += said
        known_as += self._ends.last
        ids = [max(number, PICTURE_TOKEN) for number in known_as]
        whole = PicturePrompt(self._mark.join(pieces), tuple(shown), tuple(known_as), salt)
        return Prompt(token_ids=ids, rendered=whole)

    def _in_order(
        self, text: str, pictures: Sequence[Picture]
    ) -> tuple[Sequence[str], Sequence[Picture]]:
        """The text between the pictures, and they as it shows them."""
        first, *rest = self._marks.split(text)
        pieces, order = [first, *rest[1::2]], [int(number) for number in rest[::2]]
        if sorted(order) != list(range(len(pictures))):
            raise InvalidRequest(
                "The model's chat template does not show each picture once.", "messages"
            )
        if not pieces[-1]:
            raise InvalidRequest("The prompt ends with a picture: nothing follows it.", "messages")
        if any(self._mark in piece for piece in pieces):
            raise InvalidRequest("A text holds llama.cpp's mark of a picture.", "messages")
        if self._ends.first:  # llama.cpp writes it, and would write a second one
            pieces[0] = pieces[0].removeprefix(self._first_text)
        return pieces, [pictures[number] for number in order]

    def _picture_tokens(
        self, pieces: Sequence[str], pictures: Sequence[Picture], text_tokens: int
    ) -> list[int]:
        """Of each, about, and of all together exactly, as llama.cpp counts the prompt that it will
        read: it tells no more."""
        parts: list[str | bytes] = [pieces[0]]
        for size, piece in zip(sizes(pictures), pieces[1:], strict=True):
            parts += [blank(size), piece]
        try:
            whole = self._http.count_tokens(parts)
        except RuntimeError:  # of its pictures: its texts were read
            raise InvalidRequest(
                "The model cannot read pictures of such sizes.", "messages"
            ) from None
        rest = whole - text_tokens - len(self._ends.first) - len(self._ends.last)
        if rest < len(pictures):
            raise EngineError("llama.cpp counts fewer tokens with pictures than without.")
        each, more = divmod(rest, len(pictures))
        return [each + (number < more) for number in range(len(pictures))]


def _known_as(picture: Picture) -> int:
    return PICTURE_TOKEN - 1 - int(picture.digest[:7], 16)
