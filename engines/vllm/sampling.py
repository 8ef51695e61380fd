"""GenerateRequest -> vLLM's SamplingParams."""

from collections.abc import Iterable
from typing import Any

from engines.base import GenerateRequest


def sampling_params(
    request: GenerateRequest,
    structured_outputs: Any,
    skip_special_tokens: bool,
    forbidden: Iterable[int] = (),
) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    wanted = request.sampling
    # vLLM refuses several greedy choices; the likeliest token alone is the same.
    is_greedy_many = wanted.temperature == 0 and wanted.n > 1
    params = SamplingParams(
        max_tokens=wanted.max_tokens,
        min_tokens=min(wanted.min_tokens, wanted.max_tokens),
        temperature=1.0 if is_greedy_many else wanted.temperature,
        top_p=wanted.top_p,
        top_k=1 if is_greedy_many else wanted.top_k,
        min_p=wanted.min_p,
        presence_penalty=wanted.presence_penalty,
        frequency_penalty=wanted.frequency_penalty,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        n=wanted.n,
        stop=list(wanted.stop),
        ignore_eos=wanted.ignore_eos,
        logprobs=wanted.logprobs,
        logit_bias=dict.fromkeys(forbidden, -100.0) | dict(wanted.logit_bias) or None,
        structured_outputs=structured_outputs,
        skip_special_tokens=skip_special_tokens,
        output_kind=(RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY),
    )
    if wanted.n == 1:
        params.skip_clone = True  # nobody else has it: a deep copy of it costs 60 µs
    return params
