"""vLLM's log probabilities of a prompt, put onto the first delta of each choice."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from engines.base import Delta, GenerateRequest, InvalidRequest, Prompt, TokenLogprob
from engines.vllm.vocabulary import Vocabulary

MOST_VALUES = 2**16
"""Of one request: vLLM makes an object of each on the event loop, in some 5 µs."""


def check_prompt_logprobs(request: GenerateRequest, prompt: Prompt) -> None:
    """Raises InvalidRequest where there would be too many."""
    top = request.sampling.prompt_logprobs
    if top is None:
        return
    values = prompt.token_count * (top + 1) * request.sampling.n
    if values > MOST_VALUES:
        raise InvalidRequest(
            f"A prompt of {prompt.token_count} tokens, each with {top} likely ones, for "
            f"{request.sampling.n} choice(s) has {values} log probabilities; at most "
            f"{MOST_VALUES} can be told at once.",
            "logprobs",
        )


class PromptLogprobs:
    """One request's. vLLM tells them with the first output of each choice, and where it merges
    outputs, of the first one alone: every choice has the same prompt."""

    def __init__(self, request: GenerateRequest, prompt: Prompt, vocabulary: Vocabulary) -> None:
        self._top = request.sampling.prompt_logprobs
        self._ids = prompt.token_ids
        self._vocabulary = vocabulary
        self._found: tuple[TokenLogprob, ...] = ()
        self._told: set[int] = set()

    def onto(self, deltas: list[Delta], output: Any) -> list[Delta]:
        """The deltas of one output, with what it tells of the prompt."""
        if self._top is None:
            return deltas
        if output.prompt_logprobs and not self._found:
            self._found = self._of(output.prompt_logprobs, self._top)
        return [self._with(delta) for delta in deltas]

    def _with(self, delta: Delta) -> Delta:
        if not self._found or delta.index in self._told:
            return delta
        self._told.add(delta.index)
        return replace(delta, prompt_logprobs=self._found)

    def _of(self, positions: Sequence[Any], top: int) -> tuple[TokenLogprob, ...]:
        """The first has no probability: nothing stands before it."""
        first = self._vocabulary.without_probability(self._ids[0])
        rest = self._vocabulary.logprobs(self._ids[1:], positions[1:], top)
        return (first, *rest)
