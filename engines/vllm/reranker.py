"""Rerankers that are published as language models: which of their tokens are the score."""

from collections.abc import Mapping
from typing import Any

_QWEN3 = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}
"""Of Qwen3-Reranker, by vLLM's documentation of it."""


def reranker_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """AsyncEngineArgs' keywords that a model's config.json asks for; others need none, or an
    operator's own hf_overrides."""
    is_qwen3 = config.get("architectures") == ["Qwen3ForCausalLM"]
    return {"hf_overrides": dict(_QWEN3)} if is_qwen3 else {}
