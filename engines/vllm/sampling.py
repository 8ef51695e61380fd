"""GenerateRequest -> vLLM's SamplingParams."""

from typing import Any

from engines.base import GenerateRequest
from engines.vllm.worker_limits import check_biases, seed_for


def sampling_params(
    request: GenerateRequest,
    structured_outputs: Any,
    skip_special_tokens: bool,
    thinking_tokens: int | None = None,
    spaces_added_tokens: bool = True,
) -> Any:
    """`thinking_tokens`: as vLLM counts them. `spaces_added_tokens`: vLLM's own default, of
    which a Rust tokenizer makes nothing. Raises InvalidRequest."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    sampling = request.sampling
    check_biases(sampling)
    # vLLM refuses several greedy choices; the likeliest token alone is the same.
    is_greedy_many = sampling.temperature == 0 and sampling.n > 1
    params = SamplingParams(
        max_tokens=sampling.max_tokens,
        min_tokens=min(sampling.min_tokens, sampling.max_tokens),
        temperature=1.0 if is_greedy_many else sampling.temperature,
        top_p=sampling.top_p,
        top_k=1 if is_greedy_many else sampling.top_k,
        min_p=sampling.min_p,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        repetition_penalty=sampling.repetition_penalty,
        seed=seed_for(sampling),
        n=sampling.n,
        stop=list(sampling.stop),
        ignore_eos=sampling.ignore_eos,
        logprobs=sampling.logprobs,
        prompt_logprobs=sampling.prompt_logprobs,
        logit_bias=dict(sampling.logit_bias) or None,
        structured_outputs=structured_outputs,
        skip_special_tokens=skip_special_tokens,
        spaces_between_special_tokens=spaces_added_tokens,
        output_kind=(RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY),
        **({} if thinking_tokens is None else {"thinking_token_budget": thinking_tokens}),
    )
    if sampling.n == 1:
        params.skip_clone = True  # nobody else has it: a deep copy of it costs 60 µs
    return params
