"""A prompt's salt in vLLM's prefix cache, and the beginning that it does not part from others'."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.answers.shared_prompts import SharedPrompts
from engines.base import GenerateRequest
from engines.host.worker_threads import WorkerThreads
from engines.vllm.fastpath.shared_beginning import behind
from engines.vllm.render import Renderer


def salted(rendered: Mapping[str, Any], salt: str | None) -> Mapping[str, Any]:
    """vLLM's engine input with the salt."""
    return rendered if salt is None else {**rendered, "cache_salt": salt}


class PrefixSalt:
    """One engine's. Belongs to the event loop."""

    def __init__(self, renderer: Renderer, threads: WorkerThreads) -> None:
        self._renderer, self._threads = renderer, threads
        self._shared = SharedPrompts(self._token_ids)

    async def on(self, rendered: Mapping[str, Any], request: GenerateRequest) -> Mapping[str, Any]:
        """The rendered prompt with its request's salt, behind what it shares with everybody's."""
        salt, ids = request.cache_salt, rendered["prompt_token_ids"]
        if salt is None:
            return rendered
        if self._shared.knows(request):
            shared = self._shared.count(request, ids)
        else:
            shared = await self._threads(self._shared.count, request, ids)
        return salted(rendered, behind(shared, salt))

    def _token_ids(self, request: GenerateRequest) -> Sequence[int]:
        ids: Sequence[int] = self._renderer.chat(request)["prompt_token_ids"]
        return ids
