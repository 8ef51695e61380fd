"""A thinking budget -> vLLM's own `thinking_token_budget`, which its sampler keeps by token ids."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from engines.answers.thinking_budget import impossible, is_open, mark_ids, tokens_of_open_thought
from engines.base import GenerateRequest, Prompt, ThinkingBudget
from engines.registry.spec import EngineSpec
from engines.vllm.vocabulary import Vocabulary


def reasoning_config(spec: EngineSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """The engine argument that says between which marks vLLM counts: the registry's, where the
    spec gives none. None for a vLLM that has no such, or other names in it: that one keeps no
    budget, and starts all the same."""
    if spec.thinking is None or "reasoning_config" in given:
        return {}
    from vllm import config

    kind = getattr(config, "ReasoningConfig", None)
    names = {field.name for field in fields(kind)} if kind is not None else set()
    marks = dict(zip(("reasoning_start_str", "reasoning_end_str"), spec.thinking, strict=True))
    return {"reasoning_config": kind(**marks)} if kind and names.issuperset(marks) else {}


def vllm_budget(
    request: GenerateRequest, prompt: Prompt, vocabulary: Vocabulary, vllm_config: Any
) -> int | None:
    """The number that vLLM's sampler needs so that the answer's thought has as many tokens as its
    budget. Raises InvalidRequest where that cannot be."""
    budget = request.sampling.thinking_budget
    if budget is None:
        return None
    start, end = mark_ids(budget, vocabulary.token_id)
    _check_engine(budget, vllm_config, [start], [end])
    behind = tokens_of_open_thought(prompt.token_ids, start, end)
    if is_open(request, behind) is not (behind is not None):
        # vLLM would never begin to count, or at once.
        seen = "does not show where its thought begins" if behind is None else "never ends one"
        message = f"The prompt {seen}, as vLLM reads it by its {budget.start}."
        raise impossible(budget, message)
    return budget.tokens + (behind or 0)  # vLLM counts the prompt's own


def _check_engine(
    budget: ThinkingBudget, vllm_config: Any, start: list[int], end: list[int]
) -> None:
    """Raises InvalidRequest where this vLLM counts between other marks, or none: it is older, or
    another alias of the same engine has its marks."""
    config = getattr(vllm_config, "reasoning_config", None)
    known = (
        getattr(config, "reasoning_start_token_ids", None),
        getattr(config, "reasoning_end_token_ids", None),
    )
    if known != (start, end):
        message = "this vLLM engine was not started with the model's marks of a thought."
        raise impossible(budget, message)
