"""GenerateRequest -> the fields of llama.cpp's completion call, or InvalidRequest naming what it
cannot do."""

from collections.abc import Mapping, Sequence
from typing import Any

from engines.base import GenerateRequest, InvalidRequest, Sampling
from engines.bias_tokens import check_bias_tokens
from engines.llamacpp.wire import LAST_FIELDS

RANDOM_SEED = 2**32 - 1
"""llama.cpp's word for "draw a seed"."""


def fields_of(
    request: GenerateRequest,
    token_ids: list[int],
    grammar: str | None,
    vocabulary: int,
    marks: Sequence[str],
    thinking: Mapping[str, Any],
) -> dict[str, Any]:
    """What all calls of a request have. `marks`: special tokens that must show in the text;
    `thinking`: what bounds the thought. Raises InvalidRequest."""
    s = request.sampling
    _refuse_prompt_logprobs(s)
    fields = {
        "prompt": token_ids,
        "stream": True,
        "max_tokens": s.max_tokens,
        "return_progress": True,
        "response_fields": LAST_FIELDS,
        # Reusing a cached prefix changes the batches and with them the last bits of the logits.
        "cache_prompt": s.seed is None,
        **_drawing(s, vocabulary, len(token_ids) + s.max_tokens),
        **_ending(s),
        **thinking,
        "logit_bias": [*_bias(s, vocabulary), *thinking.get("logit_bias", ())],
    }
    if s.logprobs is not None:
        fields["n_probs"] = max(s.logprobs, 1)
    if grammar is not None:
        fields["grammar"] = grammar
    if marks:
        fields |= {"preserved_tokens": list(marks), "return_tokens": True}
    return fields


def of_choices(fields: dict[str, Any], s: Sampling, first: int, count: int) -> dict[str, Any]:
    """The call for choices first, first + 1, …: llama.cpp gives them seed, seed + 1, … and reads
    the prompt once for all of them."""
    seed = RANDOM_SEED if s.seed is None else (s.seed + first) % RANDOM_SEED
    return fields | {"n": count, "seed": seed}


def _drawing(s: Sampling, vocabulary: int, tokens: int) -> dict[str, Any]:
    """In vLLM's order: penalties, temperature, then the cuts; greedy is the likeliest token.

    llama.cpp keeps a ring of `repeat_last_n` numbers a choice: as long as prompt and answer are.
    """
    cuts = ["top_k"] if s.temperature == 0 else ["temperature", "min_p", "top_k", "top_p"]
    return {
        "samplers": ["penalties", *cuts],
        "temperature": s.temperature,
        "top_k": 1 if s.temperature == 0 else min(s.top_k, vocabulary),
        "top_p": s.top_p,
        "min_p": s.min_p,
        "repeat_penalty": s.repetition_penalty,
        "presence_penalty": s.presence_penalty,
        "frequency_penalty": s.frequency_penalty,
        "repeat_last_n": tokens,
    }


def _ending(s: Sampling) -> dict[str, Any]:
    if s.min_tokens >= s.max_tokens:  # nothing may end it before its length does
        return {"ignore_eos": True}
    if s.min_tokens > 0:
        raise InvalidRequest(
            f"min_tokens {s.min_tokens} is not possible on llama.cpp below max_tokens "
            f"({s.max_tokens}); set both to the same number, or leave min_tokens out.",
            "min_tokens",
            "max_tokens, or none",
        )
    return {"ignore_eos": s.ignore_eos, "stop": list(s.stop)}


def _refuse_prompt_logprobs(s: Sampling) -> None:
    if s.prompt_logprobs is not None:
        raise InvalidRequest(
            "echo with logprobs, or of token ids, is not possible on llama.cpp: it tells no "
            "log probabilities of a prompt; the vLLM engine does.",
            "echo",
            "false",
        )


def _bias(s: Sampling, vocabulary: int) -> list[list[Any]]:
    check_bias_tokens(s.logit_bias, vocabulary)
    return [[token, bias] for token, bias in s.logit_bias.items()]
