"""Every field that OpenAI, vLLM, llama.cpp and SGLang have and the wire types here do not: what
comes of it. One that would change the answer is a 400 by its name; the rest has no effect."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from server.api.decode import brief
from server.errors import ApiError

LEAVE_OUT = "nothing: leave it out"


class Refused(NamedTuple):
    """A field that would change the answer."""

    instead: str
    """What to use here."""
    neutral: tuple[Any, ...] = ()
    """The values, beside null, that ask for what happens anyway."""


_OFF = (False,)
_ON = (True,)
_NONE: tuple[list[str]] = ([],)

_OF_ANSWERS: Final[Mapping[str, Refused]] = {
    # OpenAI
    "functions": Refused("tools", _NONE),
    "function_call": Refused("tool_choice", ("none", "auto")),
    "audio": Refused("text messages"),
    "modalities": Refused('["text"]', (["text"],)),
    "moderation": Refused("a request to a guard model"),
    "web_search_options": Refused("tools"),
    "verbosity": Refused("a system message that says it", ("medium",)),
    "best_of": Refused("n", (1,)),
    "suffix": Refused("a prompt that says it", ("",)),
    "echo": Refused("the prompt you have already", _OFF),
    # vLLM
    "use_beam_search": Refused("n", _OFF),
    "length_penalty": Refused(LEAVE_OUT, (1,)),
    "watermarking": Refused(LEAVE_OUT, _OFF),
    "stop_token_ids": Refused("stop", _NONE),
    "skip_special_tokens": Refused(LEAVE_OUT, _ON),
    "truncate_prompt_tokens": Refused("a shorter prompt"),
    "prompt_logprobs": Refused("logprobs"),
    "logprob_token_ids": Refused("top_logprobs", _NONE),
    "allowed_token_ids": Refused("logit_bias"),
    "bad_words": Refused("logit_bias", _NONE),
    "add_generation_prompt": Refused("/v1/chat/completions", _ON),
    "continue_final_message": Refused("/v1/chat/completions", _OFF),
    "documents": Refused("messages", _NONE),
    "chat_template": Refused("chat_template_kwargs"),
    "thinking_token_budget": Refused("max_tokens", (-1,)),
    "include_reasoning": Refused("the answer's content alone", _ON),
    "return_tokens_as_token_ids": Refused("logprobs", _OFF),
    "return_token_ids": Refused("/v1/tokenize", _OFF),
    "return_prompt_text": Refused(LEAVE_OUT, _OFF),
    "cache_salt": Refused("a server of one's own"),
    "kv_transfer_params": Refused(LEAVE_OUT, ({},)),
    "ec_transfer_params": Refused(LEAVE_OUT, ({},)),
    "vllm_xargs": Refused(LEAVE_OUT, ({},)),
    "repetition_detection": Refused("repetition_penalty"),
    "prompt_embeds": Refused("a prompt of text", _NONE),
    "guided_json": Refused("structured_outputs.json"),
    "guided_regex": Refused("structured_outputs.regex"),
    "guided_choice": Refused("structured_outputs.choice", _NONE),
    "guided_grammar": Refused("structured_outputs.grammar"),
    "guided_whitespace_pattern": Refused("structured_outputs.regex"),
    # llama.cpp
    "n_predict": Refused("max_tokens", (-1,)),
    "n_cmpl": Refused("n", (1,)),
    "n_indent": Refused("structured_outputs.regex", (0,)),
    "n_probs": Refused("logprobs", (0,)),
    "min_keep": Refused("top_k", (0, 1)),
    "t_max_predict_ms": Refused("X-Request-Timeout", (0, -1)),
    "repeat_penalty": Refused("repetition_penalty", (1,)),
    "repeat_last_n": Refused("repetition_penalty, which counts all tokens", (-1,)),
    "typical_p": Refused("top_p", (1,)),
    "tfs_z": Refused("top_p", (1,)),
    "top_n_sigma": Refused("min_p", (-1,)),
    "top_a": Refused("min_p", (0,)),
    "xtc_probability": Refused("temperature", (0,)),
    "dynatemp_range": Refused("temperature", (0,)),
    "mirostat": Refused("temperature", (0,)),
    "adaptive_target": Refused("temperature", (-1,)),
    "dry_multiplier": Refused("repetition_penalty", (0,)),
    "samplers": Refused("temperature, top_k, top_p and min_p", _NONE),
    "grammar": Refused("structured_outputs.grammar", ("",)),
    "json_schema": Refused("response_format"),
    "grammar_lazy": Refused("tools", _OFF),
    "grammar_triggers": Refused("tools", _NONE),
    "preserved_tokens": Refused("tools", _NONE),
    "chat_format": Refused(LEAVE_OUT),
    "chat_parser": Refused(LEAVE_OUT),
    "parse_tool_calls": Refused("tool_choice none", _ON),
    "lora": Refused("a model's own alias", _NONE),
    "response_fields": Refused("the whole answer", _NONE),
    "return_tokens": Refused("/v1/tokenize", _OFF),
    "return_progress": Refused(LEAVE_OUT, _OFF),
    "timings_per_token": Refused("/metrics", _OFF),
    "post_sampling_probs": Refused("logprobs", _OFF),
    "input_prefix": Refused("a prompt that says it", ("",)),
    "input_suffix": Refused("a prompt that says it", ("",)),
    "input_extra": Refused("a prompt that says it", _NONE),
    "reasoning_format": Refused("reasoning_content of the answer", ("auto", "deepseek")),
    "reasoning_in_content": Refused("reasoning_content of the answer", _OFF),
    "thinking_forced_open": Refused("chat_template_kwargs", _OFF),
    "reasoning_budget": Refused("max_tokens", (-1,)),
    "reasoning_budget_tokens": Refused("max_tokens", (-1,)),
    "reasoning_budget_message": Refused("max_tokens", ("",)),
    "thinking_budget_tokens": Refused("max_tokens", (-1,)),
    # others
    "enable_thinking": Refused("chat_template_kwargs.enable_thinking"),
    "thinking": Refused("reasoning_effort, or chat_template_kwargs"),
    "thinking_budget": Refused("max_tokens", (-1,)),
    "reasoning": Refused("reasoning_effort"),
    "separate_reasoning": Refused("reasoning_content of the answer", _ON),
    "regex": Refused("structured_outputs.regex"),
    "ebnf": Refused("structured_outputs.grammar"),
    "stop_regex": Refused("stop", _NONE),
    "no_stop_trim": Refused(LEAVE_OUT, _OFF),
    "logits_processors": Refused("logit_bias", _NONE),
    "custom_logit_processor": Refused("logit_bias"),
}

CHAT: Final[Mapping[str, Refused]] = {
    **_OF_ANSWERS,
    "add_special_tokens": Refused("/v1/completions", _OFF),
}
COMPLETIONS: Final[Mapping[str, Refused]] = {
    **_OF_ANSWERS,
    "add_special_tokens": Refused("a prompt of token ids", _ON),
    "messages": Refused("/v1/chat/completions"),
    "tools": Refused("/v1/chat/completions", _NONE),
    "max_completion_tokens": Refused("max_tokens"),
}
RESPONSES: Final[Mapping[str, Refused]] = {
    **_OF_ANSWERS,
    "add_special_tokens": Refused("/v1/completions", _OFF),
    "messages": Refused("input", _NONE),
    "max_tokens": Refused("max_output_tokens"),
    "max_completion_tokens": Refused("max_output_tokens"),
    "response_format": Refused("text.format"),
    "reasoning_effort": Refused("reasoning.effort"),
    "verbosity": Refused("instructions that say it", ("medium",)),
    "logprobs": Refused("top_logprobs", _OFF),
    "n": Refused("several requests", (1,)),
    "context_management": Refused("a shorter input", _NONE),
    "background_options": Refused(LEAVE_OUT, ({},)),
    "access_programs": Refused(LEAVE_OUT, ({},)),
    "image": Refused("text in input"),
    "enable_response_messages": Refused("output", _OFF),
    "previous_input_messages": Refused("input", _NONE),
}
_OF_VECTORS: Final[Mapping[str, Refused]] = {
    # vLLM
    "messages": Refused("input"),
    "truncate_prompt_tokens": Refused("a shorter input"),
    "padding": Refused(LEAVE_OUT, ("do_not_pad",)),
    "add_special_tokens": Refused("token ids as input", _ON),
    "add_generation_prompt": Refused(LEAVE_OUT, _OFF),
    "continue_final_message": Refused(LEAVE_OUT, _OFF),
    "chat_template": Refused("input as the model should read it"),
    "chat_template_kwargs": Refused("input as the model should read it", ({},)),
    "embed_dtype": Refused("encoding_format", ("float32",)),
    "endianness": Refused("encoding_format", ("native", "little")),
    "use_activation": Refused(LEAVE_OUT),
    "normalize": Refused(LEAVE_OUT),
    "cache_salt": Refused("a server of one's own"),
    # llama.cpp
    "content": Refused("input"),
    "embd_normalize": Refused(LEAVE_OUT),
    # others
    "input_type": Refused("input with the model's own prefix"),
    "prompt_name": Refused("input with the model's own prefix"),
    "instruction": Refused("input with the model's own prefix", ("",)),
    "task": Refused("input with the model's own prefix"),
    "late_chunking": Refused("several inputs", _OFF),
    "output_dimension": Refused("dimensions"),
    "output_dtype": Refused("encoding_format", ("float",)),
}
EMBEDDINGS: Final[Mapping[str, Refused]] = _OF_VECTORS
TOKENIZE: Final[Mapping[str, Refused]] = {
    "add_special_tokens": Refused(LEAVE_OUT),
    "documents": Refused("messages", _NONE),
    "chat_template": Refused("chat_template_kwargs"),
    "return_token_strs": Refused(LEAVE_OUT, _OFF),
    "with_pieces": Refused(LEAVE_OUT, _OFF),
    "content": Refused("prompt"),
}

MESSAGE: Final[Mapping[str, Refused]] = {
    "function_call": Refused("tool_calls"),
    "audio": Refused("content"),
    "tools": Refused("tools of the request", _NONE),
}
"""Of a chat's messages."""
STREAM_OPTIONS: Final[Mapping[str, Refused]] = {
    "continuous_usage_stats": Refused("include_usage", _OFF),
}
STRUCTURED_OUTPUTS: Final[Mapping[str, Refused]] = {
    "disable_any_whitespace": Refused("regex", _OFF),
    "disable_additional_properties": Refused("additionalProperties in the schema", _OFF),
    "disable_fallback": Refused(LEAVE_OUT, _OFF),
    "whitespace_pattern": Refused("regex"),
    "structural_tag": Refused("tools"),
}
REASONING: Final[Mapping[str, Refused]] = {
    "generate_summary": Refused("summary"),
    "context": Refused("the earlier items in input", ("auto",)),
    "mode": Refused("effort", ("standard",)),
}
"""Of a response."""

_NO_MEDIA = "nothing but text is read"
_ORDER = "who is served when does not change what is said"
_SPEED = "it does not change what is said"
_ALONE = "it counts beside another field alone, which is refused"
PASSIVE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("mm_processor_kwargs", "media_io_kwargs", "mm_payload"), _NO_MEDIA),
    **dict.fromkeys(("return_mm_kwargs", "multimodal_data"), _NO_MEDIA),
    **dict.fromkeys(("priority", "id_slot", "sse_ping_interval"), _ORDER),
    **dict.fromkeys(("prediction", "prompt_cache_key", "prompt_cache_options"), _SPEED),
    **dict.fromkeys(("prompt_cache_retention", "cache_prompt", "n_cache_reuse"), _SPEED),
    **dict.fromkeys(("stream_interval", "backend_sampling"), _SPEED),
    **dict.fromkeys(("speculative.n_max", "speculative.n_min", "speculative.p_min"), _SPEED),
    **dict.fromkeys(("speculative.type", "guided_decoding_backend"), _SPEED),
    **dict.fromkeys(("xtc_threshold", "dynatemp_exponent", "mirostat_tau"), _ALONE),
    **dict.fromkeys(("mirostat_eta", "adaptive_decay", "dry_base"), _ALONE),
    **dict.fromkeys(("dry_allowed_length", "dry_penalty_last_n"), _ALONE),
    **dict.fromkeys(("dry_sequence_breakers", "truncation_side"), _ALONE),
    "n_keep": "nothing of a context is ever dropped",
    "n_discard": "nothing of a context is ever dropped",
    "request_id": "the header X-Request-Id names a request",
    "session_id": "nothing is kept between requests",
    "safety_identifier": "user is stored",
    "spaces_between_special_tokens": "no special token is shown",
    "routed_experts_prompt_start": "no such data is in an answer",
    "return_token_offsets": "no such data is in an answer",
}
"""Known, and without effect on any answer -> why."""


def refuse(given: Mapping[str, Any] | None, known: Mapping[str, Refused], place: str = "") -> None:
    """`given` is what a wire type has no place for. Raises ApiError 400 naming the first field
    (`place` before it) that asks for something else than what happens anyway."""
    for name, value in (given or {}).items():
        field = known.get(name)
        if field is None or value is None or any(_is(value, each) for each in field.neutral):
            continue
        message = f"{place}{name} is not supported here; use {field.instead}."
        raise ApiError.invalid(message, place + name, brief(value), field.instead)


def _is(value: Any, neutral: Any) -> bool:
    """Equal, and true is no 1."""
    return isinstance(value, bool) is isinstance(neutral, bool) and bool(value == neutral)
