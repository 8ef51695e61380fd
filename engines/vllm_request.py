"""GenerateRequest -> vLLM's ChatParams, prompt and SamplingParams."""

from typing import Any

from engines.base import GenerateRequest, InvalidRequest, Structure, Tool


def chat_params(request: GenerateRequest) -> Any:
    from vllm.renderers import ChatParams

    tools = [_function(tool) for tool in request.tools] if _sees_tools(request) else None
    return ChatParams(
        chat_template_kwargs={
            "add_generation_prompt": True,
            "tools": tools,
            **request.chat_template_kwargs,
        }
    )


def _sees_tools(request: GenerateRequest) -> bool:
    return request.tool_parser is not None and request.tool_choice != "none"


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "parameters": dict(tool.parameters)}
    if tool.description is not None:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def prompt_for_engine(request: GenerateRequest, model_config: Any) -> Any:
    from vllm.inputs import TextPrompt, TokensPrompt

    if isinstance(request.prompt, str):
        return TextPrompt(prompt=request.prompt)
    token_ids = list(request.prompt or ())
    vocabulary = model_config.get_vocab_size()
    if not token_ids:
        raise InvalidRequest("The prompt is empty.", "prompt")
    if min(token_ids) < 0 or max(token_ids) >= vocabulary:
        raise InvalidRequest(f"Token ids are from 0 to {vocabulary - 1}.", "prompt")
    return TokensPrompt(prompt_token_ids=token_ids)


def sampling_params(request: GenerateRequest) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    wanted = request.sampling
    return SamplingParams(
        max_tokens=wanted.max_tokens,
        min_tokens=min(wanted.min_tokens, wanted.max_tokens),
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        min_p=wanted.min_p,
        presence_penalty=wanted.presence_penalty,
        frequency_penalty=wanted.frequency_penalty,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        n=wanted.n,
        stop=list(wanted.stop),
        ignore_eos=wanted.ignore_eos,
        logprobs=wanted.logprobs,
        logit_bias=dict(wanted.logit_bias) or None,
        structured_outputs=_structured(request.structure) if request.structure else None,
        output_kind=(RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY),
    )


def _structured(structure: Structure) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    match structure.kind:
        case "json_object":
            return StructuredOutputsParams(json_object=True)
        case "json_schema":
            return StructuredOutputsParams(json=structure.value)
        case "regex":
            return StructuredOutputsParams(regex=structure.value)
        case "choice":
            return StructuredOutputsParams(choice=list(structure.value))
        case "grammar":
            return StructuredOutputsParams(grammar=structure.value)
