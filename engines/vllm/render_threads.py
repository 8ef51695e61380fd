"""Which thread makes a prompt: what takes long waits for its like, and nobody for it."""

from engines.base import GenerateRequest
from engines.content import picture_parts
from engines.host.worker_threads import WorkerThreads
from engines.text_bound import LONG_TEXT_CHARACTERS, request_characters


class RenderThreads:
    """One engine's."""

    def __init__(self, threads: int) -> None:
        """`threads`: ordinary prompts at once."""
        self.ordinary = WorkerThreads(threads, "vllm-aside")
        self._long_texts = WorkerThreads(1, "vllm-long-texts", in_short_turns=True)
        self._pictures = WorkerThreads(1, "vllm-pictures")

    def of_request(self, request: GenerateRequest) -> WorkerThreads:
        if any(picture_parts(request.messages or ())):
            return self._pictures
        return self.of_length(request_characters(request))

    def of_length(self, characters: int) -> WorkerThreads:
        return self.ordinary if characters < LONG_TEXT_CHARACTERS else self._long_texts

    def close(self) -> None:
        """Blocks until the running calls have ended. Idempotent."""
        for threads in (self.ordinary, self._long_texts, self._pictures):
            threads.close()
