"""A thinking budget -> the fields of llama.cpp's own sampler for it, which forces the end mark."""

from collections.abc import Callable, Sequence
from typing import Any

from engines.answers.thinking_budget import is_open, mark_ids, tokens_of_open_thought
from engines.base import GenerateRequest

OPENED = "<fjord:thought>"
"""llama.cpp's sampler reads its `generation_prompt` before every answer, and begins to count where
its start mark stands in it. It is the server's, not a request's: so it is this word for all, and a
request whose prompt is inside of a thought names the word as its start mark."""


def budget_fields(
    request: GenerateRequest, prompt_ids: Sequence[int], token_id: Callable[[str], int | None]
) -> dict[str, Any]:
    """None of them without a budget. Raises InvalidRequest where the marks are no single tokens. A
    budget that is spent inside of a character waits for its end: three tokens more at most."""
    budget = request.sampling.thinking_budget
    if budget is None:
        return {}
    start, end = mark_ids(budget, token_id)
    begins_inside = is_open(request, tokens_of_open_thought(prompt_ids, start, end))
    fields: dict[str, Any] = {
        "reasoning_budget_tokens": budget.tokens,
        "reasoning_budget_start_tag": OPENED if begins_inside else budget.start,
        "reasoning_budget_end_tags": [budget.end],
        "reasoning_budget_message": "",  # without it nothing is forced
    }
    if begins_inside:  # a second thought would have no bound: its mark is not the one that counts
        fields["logit_bias"] = [[start, False]]
    return fields
