"""What a request's chat template is told: the alias' switches, the effort's, the caller's own."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from engines.registry.spec import ModelSpec
from server.api.fields import LEAVE_OUT
from server.errors import ApiError

RENDERER_NAMES = frozenset(
    {
        *("messages", "conversation", "conversations", "tools", "documents"),
        *("chat_template", "tokenize", "tokenizer", "tokenizer_kwargs", "add_generation_prompt"),
        *("continue_final_message", "padding", "truncation", "max_length", "return_tensors"),
        *("return_dict", "return_assistant_tokens_mask", "raise_exception", "strftime_now"),
        *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"),
        *("mask_token", "additional_special_tokens", "extra_special_tokens"),
    }
)
"""What renderers of chat templates call their own: under these names a caller would replace
messages, tools, special tokens or the template itself, each past its own check."""


class Switched(Protocol):
    """What chat and tokenize have of it."""

    @property
    def enable_thinking(self) -> bool | None: ...
    @property
    def chat_template_kwargs(self) -> dict[str, Any] | None: ...


def switches(wire: Switched) -> dict[str, Any]:
    """The caller's own, wherever they stand. Raises ApiError 400 where two places differ."""
    own, asked = dict(wire.chat_template_kwargs or {}), wire.enable_thinking
    if asked is not None and own.setdefault("enable_thinking", asked) is not asked:
        message = "enable_thinking and chat_template_kwargs.enable_thinking differ."
        raise ApiError.invalid(message, "enable_thinking", asked, "one of the two")
    return own


def template_kwargs(
    spec: ModelSpec, effort: str | None, own: Mapping[str, Any] | None, field: str = ""
) -> dict[str, Any]:
    """The alias' switches, then those of the effort, then the caller's own where they are neither
    the alias' (but for those that the registry frees) nor a renderer's. Raises ApiError 400."""
    kwargs = dict(spec.chat_template_kwargs)
    kwargs.update(spec.reasoning_efforts.get(effort or "", {}))
    is_known = effort is None or effort in spec.efforts
    if not is_known and (effort != "none" or spec.reasoning):
        known = ", ".join(spec.efforts) or LEAVE_OUT
        message = f"{spec.alias} has no reasoning effort {effort!r}."
        raise ApiError.invalid(message, field or "reasoning_effort", effort, known)
    for name, value in (own or {}).items():
        _check_template_kwarg(spec, kwargs, name, value)
    return kwargs | dict(own or {})


def _check_template_kwarg(
    spec: ModelSpec, kwargs: Mapping[str, Any], name: str, value: Any
) -> None:
    field = f"chat_template_kwargs.{name[:64]}"
    if name in RENDERER_NAMES:
        message = f"{field} is the renderer's own name: no switch of a chat template."
        raise ApiError.invalid(message, field, None, LEAVE_OUT)
    is_fixed = name in spec.chat_template_kwargs and name not in spec.free_chat_template_kwargs
    if is_fixed and value != kwargs[name]:
        message = f"{field} is fixed for {spec.alias} by the server's operator."
        raise ApiError.invalid(message, field, value, json.dumps(kwargs[name], default=str))
