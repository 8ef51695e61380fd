"""GenerateRequest -> vLLM's ChatParams, prompt and SamplingParams."""

from collections.abc import Iterable
from typing import Any

from engines.base import GenerateRequest, InvalidRequest
from engines.vllm_tools import function


def chat_params(request: GenerateRequest) -> Any:
    from vllm.renderers import ChatParams

    tools = [function(tool) for tool in request.tools] if _sees_tools(request) else None
    return ChatParams(
        chat_template_kwargs={
            "add_generation_prompt": True,
            "tools": tools,
            **request.chat_template_kwargs,
        }
    )


def _sees_tools(request: GenerateRequest) -> bool:
    return request.tool_parser is not None and bool(request.tools) and request.tool_choice != "none"


def prompt_for_engine(request: GenerateRequest, model_config: Any) -> Any:
    from vllm.inputs import TextPrompt

    if isinstance(request.prompt, str):
        return TextPrompt(prompt=request.prompt)
    token_ids = list(request.prompt or ())
    vocabulary = model_config.get_vocab_size()
    if not token_ids:
        raise InvalidRequest("The prompt is empty.", "prompt")
    if min(token_ids) < 0 or max(token_ids) >= vocabulary:
        raise InvalidRequest(f"Token ids are from 0 to {vocabulary - 1}.", "prompt")
    return tokens_prompt(token_ids)


def tokens_prompt(token_ids: Iterable[int]) -> Any:
    from vllm.inputs import TokensPrompt

    return TokensPrompt(prompt_token_ids=list(token_ids))


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
    return SamplingParams(
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
