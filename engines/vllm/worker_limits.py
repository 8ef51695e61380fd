"""What vLLM's GPU workers raise for, and no check of vLLM's before them: such a request would end
the engine, so it never gets there. docs/engines.md has the whole list; a test compares the numbers
with vLLM's."""

from collections.abc import Sequence

from engines.base import InvalidRequest, Sampling

MOST_BIASES = 1024
"""MAX_NUM_LOGIT_BIAS_TOKENS of v1/worker/gpu/sample/logit_bias.py."""
_INT64 = 2**63 - 1


def check_token_ids(token_ids: Sequence[int], vocabulary: int, param: str) -> None:
    """A tokenizer may know more tokens than the model has rows for (an image's mark in a model of
    text), and vLLM's front lets both through: a worker would read beyond its table."""
    if token_ids and max(token_ids) >= vocabulary:
        raise InvalidRequest(
            f"The text spells a special token (id {max(token_ids)}) that this model does not have: "
            f"its tokens are from 0 to {vocabulary - 1}.",
            param,
        )


def check_biases(sampling: Sampling) -> None:
    if len(sampling.logit_bias) > MOST_BIASES:
        raise InvalidRequest(
            f"logit_bias has at most {MOST_BIASES} tokens.", "logit_bias", f"at most {MOST_BIASES}"
        )


def seed_for(sampling: Sampling) -> int | None:
    """vLLM counts on from it for each of the n choices, beyond what 64 bits hold."""
    return None if sampling.seed is None else min(sampling.seed, _INT64 - sampling.n)
