"""What vLLM's GPU workers raise for, and no check of vLLM's before them: such a request would end
the engine, so it never gets there. docs/engines.md has the whole list; a test compares the numbers
with vLLM's."""

from engines.base import InvalidRequest, Sampling

MOST_BIASES = 1024
"""MAX_NUM_LOGIT_BIAS_TOKENS of v1/worker/gpu/sample/logit_bias.py."""
_INT64 = 2**63 - 1


def check_biases(sampling: Sampling) -> None:
    if len(sampling.logit_bias) > MOST_BIASES:
        raise InvalidRequest(f"logit_bias has at most {MOST_BIASES} tokens.", "logit_bias")


def seed_for(sampling: Sampling) -> int | None:
    """vLLM counts on from it for each of the n choices, beyond what 64 bits hold."""
    return None if sampling.seed is None else min(sampling.seed, _INT64 - sampling.n)
