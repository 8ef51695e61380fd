"""vLLM's outputs as deltas, where several choices come in one."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engines.base import GenerateRequest, Sampling
from engines.vllm.deltas import Choices
from engines.vllm.vocabulary import Vocabulary


def output(*indices: int) -> Any:
    """As vLLM's collector merges it for a reader who is late."""
    outputs = [
        SimpleNamespace(index=i, text="a", token_ids=[1], finish_reason=None, logprobs=None)
        for i in indices
    ]
    return SimpleNamespace(num_cached_tokens=7, outputs=outputs)


@pytest.mark.parametrize("logprobs", [None, 0])
def test_cached_tokens_are_told_once_a_prompt_however_its_choices_come(
    logprobs: int | None,
) -> None:
    sampling = Sampling(max_tokens=9, n=3, logprobs=logprobs)
    request = GenerateRequest(request_id="r", sampling=sampling, prompt="go")
    choices = Choices(request, cast(Vocabulary, None), None)
    deltas = [*choices.deltas(output(1, 0)), *choices.deltas(output(2)), *choices.deltas(output(0))]
    assert [d.cached_tokens for d in deltas] == [7, 0, 0, 0]
