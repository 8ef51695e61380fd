"""How much of a prompt's beginning is everybody's: what it has of a model's shared prompts."""

from array import array
from collections.abc import Callable, Sequence
from typing import Final

from engines.base import GenerateRequest, InvalidRequest, Sampling
from engines.shared_tokens import shared_tokens

_MOST: Final = 64
"""Models' shared prompts that are remembered; beyond them all are rendered anew."""


class SharedPrompts:
    """One engine's. Any thread may ask."""

    def __init__(self, token_ids: Callable[[GenerateRequest], Sequence[int]]) -> None:
        """`token_ids`: of a chat, rendered. Blocks, raises InvalidRequest."""
        self._token_ids = token_ids
        self._known: dict[tuple[str, ...], Sequence[array[int]]] = {}

    def knows(self, request: GenerateRequest) -> bool:
        """Whether `count` answers at once."""
        return not _has_some(request) or request.shared_prompts in self._known

    def count(self, request: GenerateRequest, ids: Sequence[int]) -> int:
        """Of the request's prompt, in tokens: what it has in common with a chat that begins with
        one of them, and holds nothing else. May block."""
        if not _has_some(request):
            return 0
        beginnings = self._known.get(request.shared_prompts)
        if beginnings is None:
            beginnings = self._rendered(request.shared_prompts)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[request.shared_prompts] = beginnings
        own = array("q", ids)
        return max((shared_tokens(own, each) for each in beginnings), default=0)

    def _rendered(self, prompts: Sequence[str]) -> Sequence["array[int]"]:
        """One that the template refuses shares nothing."""
        found = []
        for prompt in prompts:
            messages = ({"role": "system", "content": prompt}, {"role": "user", "content": ""})
            sampling = Sampling(max_tokens=1)
            chat = GenerateRequest(request_id="", sampling=sampling, messages=messages)
            try:
                found.append(array("q", self._token_ids(chat)))
            except InvalidRequest:
                continue
        return found


def _has_some(request: GenerateRequest) -> bool:
    return bool(request.shared_prompts) and request.messages is not None
