"""The public way of an answer: what vLLM's own collector holds, as deltas."""

from typing import Any, Final

from engines.base import Delta
from engines.vllm.deltas import Choices
from engines.vllm.prompt_logprobs import PromptLogprobs


class CollectedStream:
    """One request that `AsyncLLM.add_request` took; `collector` is what that returned."""

    counted: Final = 0
    """Of what is read: tokens that were counted before."""

    def __init__(
        self, collector: Any, choices: Choices, of_prompt: PromptLogprobs | None = None
    ) -> None:
        self.request_id: str = collector.request_id
        """vLLM's own, which is not the caller's."""
        self.is_finished = False
        """The last delta was read."""
        self.put = collector.put
        self._collector = collector
        self._choices = choices
        self._of_prompt = of_prompt

    async def read(self) -> list[Delta]:
        """What there is, as soon as there is some."""
        output = self._collector.get_nowait() or await self._collector.get()
        self.is_finished = output.finished
        deltas = self._choices.deltas(output)
        return deltas if self._of_prompt is None else self._of_prompt.onto(deltas, output)
