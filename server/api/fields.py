"""Every field that OpenAI, vLLM, llama.cpp, SGLang and Ollama have and the wire types here do not:
what comes of it. One that would change the answer, or how long a model stays, is a 400 by its
name; the rest has no effect."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from server.errors import ApiError, brief

LEAVE_OUT = "nothing: leave it out"
OWN_MARKS = "thinking_token_budget, which counts between the model's own marks"
NO_SALT = "nothing: who shares a prompt cache with whom is set by the server"
KEPT = "keep in the server's registry, which its operator sets"


class Refused(NamedTuple):
    """A field that would change the answer."""

    instead: str
    """What to use here."""
    neutral: tuple[Any, ...] = ()
    """The values, beside null, that ask for what happens anyway."""


OFF = (False,)
ON = (True,)
NONE: tuple[list[str]] = ([],)

_OF_ANSWERS: Final[Mapping[str, Refused]] = {
    # OpenAI
    "functions": Refused("tools", NONE),
    "function_call": Refused("tool_choice", ("none", "auto")),
    "audio": Refused("text messages"),
    "modalities": Refused('["text"]', (["text"],)),
    "moderation": Refused("a request to a guard model"),
    "web_search_options": Refused("tools"),
    "verbosity": Refused("a prompt that says it", ("medium",)),
    "best_of": Refused("n", (1,)),
    "suffix": Refused("a prompt that says it", ("",)),
    "echo": Refused("the prompt you have already", OFF),
    # vLLM
    "use_beam_search": Refused("n", OFF),
    "length_penalty": Refused(LEAVE_OUT, (1,)),
    "watermarking": Refused(LEAVE_OUT, OFF),
    "stop_token_ids": Refused("stop", NONE),
    "skip_special_tokens": Refused(LEAVE_OUT, ON),
    "truncate_prompt_tokens": Refused("a shorter input"),
    "prompt_logprobs": Refused("echo and logprobs on /v1/completions"),
    "logprob_token_ids": Refused("top_logprobs", NONE),
    "allowed_token_ids": Refused("logit_bias"),
    "bad_words": Refused("logit_bias", NONE),
    "add_generation_prompt": Refused("/v1/chat/completions", ON),
    "continue_final_message": Refused("/v1/chat/completions", OFF),
    "documents": Refused("messages", NONE),
    "chat_template": Refused("chat_template_kwargs"),
    "include_reasoning": Refused("/v1/chat/completions", ON),
    "return_tokens_as_token_ids": Refused("logprobs", OFF),
    "return_token_ids": Refused("/v1/tokenize", OFF),
    "return_prompt_text": Refused(LEAVE_OUT, OFF),
    "cache_salt": Refused(NO_SALT),
    "kv_transfer_params": Refused(LEAVE_OUT, ({},)),
    "ec_transfer_params": Refused(LEAVE_OUT, ({},)),
    "vllm_xargs": Refused(LEAVE_OUT, ({},)),
    "repetition_detection": Refused("repetition_penalty"),
    "prompt_embeds": Refused("a prompt of text", NONE),
    "guided_json": Refused("structured_outputs.json"),
    "guided_regex": Refused("structured_outputs.regex"),
    "guided_choice": Refused("structured_outputs.choice", NONE),
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
    "samplers": Refused("temperature, top_k, top_p and min_p", NONE),
    "grammar": Refused("structured_outputs.grammar", ("",)),
    "json_schema": Refused("response_format"),
    "grammar_lazy": Refused("tools", OFF),
    "grammar_triggers": Refused("tools", NONE),
    "preserved_tokens": Refused("tools", NONE),
    "chat_format": Refused(LEAVE_OUT),
    "chat_parser": Refused(LEAVE_OUT),
    "parse_tool_calls": Refused("tool_choice none", ON),
    "lora": Refused("a model's own alias", NONE),
    "response_fields": Refused("the whole answer", NONE),
    "return_tokens": Refused("/v1/tokenize", OFF),
    "return_progress": Refused(LEAVE_OUT, OFF),
    "timings_per_token": Refused("/metrics", OFF),
    "post_sampling_probs": Refused("logprobs", OFF),
    "input_prefix": Refused("a prompt that says it", ("",)),
    "input_suffix": Refused("a prompt that says it", ("",)),
    "input_extra": Refused("a prompt that says it", NONE),
    "reasoning_format": Refused("reasoning_content of the answer", ("auto", "deepseek")),
    "reasoning_in_content": Refused("reasoning_content of the answer", OFF),
    "thinking_forced_open": Refused("chat_template_kwargs", OFF),
    "reasoning_budget_message": Refused("thinking_token_budget", ("",)),
    "reasoning_budget_start_tag": Refused(OWN_MARKS, ("",)),
    "reasoning_budget_end_tag": Refused(OWN_MARKS, ("",)),
    "reasoning_budget_end_tags": Refused(OWN_MARKS, NONE),
    "reasoning_control": Refused("thinking_token_budget", OFF),
    "generation_prompt": Refused("continue_final_message of a chat", ("",)),
    "grammar_type": Refused("structured_outputs.grammar"),
    "verbose": Refused(LEAVE_OUT, OFF),
    # others
    "enable_thinking": Refused("/v1/chat/completions"),
    "thinking": Refused("/v1/chat/completions"),
    "reasoning": Refused("/v1/chat/completions"),
    "separate_reasoning": Refused("reasoning_content of the answer", ON),
    "regex": Refused("structured_outputs.regex"),
    "ebnf": Refused("structured_outputs.grammar"),
    "stop_regex": Refused("stop", NONE),
    "no_stop_trim": Refused(LEAVE_OUT, OFF),
    "logits_processors": Refused("logit_bias", NONE),
    "custom_logit_processor": Refused("logit_bias"),
    "keep_alive": Refused(KEPT),
}

_OF_A_RESPONSE: Final[Mapping[str, Refused]] = {
    "instructions": Refused("a system message", ("",)),
    "max_output_tokens": Refused("max_tokens"),
    "text": Refused("response_format", ({},)),
    "truncation": Refused("truncate_prompt_tokens", ("disabled",)),
    "include": Refused("logprobs", NONE),
    "previous_response_id": Refused("the whole conversation"),
    "conversation": Refused("the whole conversation"),
    "background": Refused("stream", OFF),
}
"""On the other endpoints that generate."""
CHAT: Final[Mapping[str, Refused]] = {
    **_OF_ANSWERS,
    **_OF_A_RESPONSE,
    "add_special_tokens": Refused("/v1/completions", OFF),
    "input": Refused("messages", NONE),
    "prompt": Refused("messages"),
    "truncate": Refused("truncate_prompt_tokens", (False, "NONE")),
}
COMPLETIONS: Final[Mapping[str, Refused]] = {
    **_OF_ANSWERS,
    **_OF_A_RESPONSE,
    "instructions": Refused("a prompt that says it", ("",)),
    "input": Refused("prompt", NONE),
    "truncate": Refused("truncate_prompt_tokens", (False, "NONE")),
    "top_logprobs": Refused("logprobs", (0,)),
    "tool_choice": Refused("/v1/chat/completions", ("none", "auto")),
    "parallel_tool_calls": Refused("/v1/chat/completions", (True, False)),
    "reasoning_effort": Refused("/v1/chat/completions"),
    "chat_template_kwargs": Refused("/v1/chat/completions", ({},)),
    "add_special_tokens": Refused("a prompt of token ids", ON),
    "messages": Refused("/v1/chat/completions"),
    "tools": Refused("/v1/chat/completions", NONE),
    "max_completion_tokens": Refused("max_tokens"),
}
RESPONSES: Final[Mapping[str, Refused]] = {
    **_OF_ANSWERS,
    "add_special_tokens": Refused("/v1/completions", OFF),
    "messages": Refused("input", NONE),
    "max_tokens": Refused("max_output_tokens"),
    "max_completion_tokens": Refused("max_output_tokens"),
    "response_format": Refused("text.format"),
    "reasoning_effort": Refused("reasoning.effort"),
    "verbosity": Refused("text.verbosity", ("medium",)),
    "logprobs": Refused("top_logprobs", OFF),
    "n": Refused("several requests", (1,)),
    "context_management": Refused("a shorter input", NONE),
    "background_options": Refused(LEAVE_OUT, ({},)),
    "access_programs": Refused(LEAVE_OUT, ({},)),
    "image": Refused("text in input"),
    "enable_response_messages": Refused("output", OFF),
    "truncate": Refused("a shorter input", (False, "NONE")),
    "previous_input_messages": Refused("input", NONE),
}
MESSAGE: Final[Mapping[str, Refused]] = {
    "function_call": Refused("tool_calls"),
    "audio": Refused("content"),
    "tools": Refused("tools of the request", NONE),
}
"""Of a chat's messages."""
STREAM_OPTIONS: Final[Mapping[str, Refused]] = {}
STREAM_OPTIONS_OF_RESPONSES: Final[Mapping[str, Refused]] = {
    "continuous_usage_stats": Refused("the usage of the last event", OFF),
}
STRUCTURED_OUTPUTS: Final[Mapping[str, Refused]] = {
    "disable_any_whitespace": Refused("regex", OFF),
    "disable_additional_properties": Refused("additionalProperties in the schema", OFF),
    "disable_fallback": Refused(LEAVE_OUT, OFF),
    "whitespace_pattern": Refused("regex"),
    "structural_tag": Refused("tools"),
}
REASONING: Final[Mapping[str, Refused]] = {
    "generate_summary": Refused("summary"),
    "context": Refused("the earlier items in input", ("auto", "all_turns")),
    "mode": Refused("effort", ("standard",)),
}
"""Of a response."""
CHAT_REASONING: Final[Mapping[str, Refused]] = {
    **REASONING,
    "generate_summary": Refused("reasoning_content of the answer", ("auto", "concise", "detailed")),
    "summary": Refused("reasoning_content of the answer", ("auto", "concise", "detailed")),
}
"""Of a chat: its trace is shown whole, wherever a summary is asked for."""

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
    **dict.fromkeys(("dimensions", "encoding_format"), "it is of vectors alone"),
    **dict.fromkeys(("metadata", "store", "service_tier"), "no chat is kept"),
    "max_tool_calls": "no tool runs here",
    "n_keep": "nothing of a context is ever dropped",
    "n_discard": "nothing of a context is ever dropped",
    "request_id": "the header X-Request-Id names a request",
    "session_id": "previous_response_id of a response names what came before",
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
