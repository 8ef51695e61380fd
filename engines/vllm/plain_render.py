"""Ordinary prompts rendered past vLLM: its template and its tokenizer, without what lies between.

vLLM's renderer is made for images, tools and many kinds of tokenizers; a chat of plain text takes
half its time and more in it, and a copy of the tokenizer for each thread (SmolLM2's: 65 MiB). This
way is taken where it gave vLLM's own tokens for every one of PROBES; all else goes vLLM's way.
"""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

_TAKEN_OUT = "x-anthropic-billing-header"
"""A line of Claude Code's that vLLM leaves out of system prompts: it changes with each request."""
_ROLES = ("system", "user", "assistant")
_MEMBERS = {"role", "content"}

PROBES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "What is the capital of Norway?"),),
    (("user", " \n\tæøå 中文 🙂 1234567 <|im_end|></s><s>[INST] <think>x</think> {{ a }}  \n"),),
    (("system", "Be brief. \n"), ("user", "One"), ("assistant", " Two "), ("user", "")),
    (("user", "One"), ("assistant", "<think>\nwhy\n</think>\n\nTwo"), ("user", "Three")),
    (("system", "Be brief."), ("user", "x" * 300), ("assistant", "Half an ans")),
)
"""Chats as (role, content)."""
TEXTS = ("Once upon a time", " \n æøå 中文 🙂 <|im_end|></s> 12345\n")
_OF_ONE = ("prompt_token_ids", "prompt", "arrival_time")

Rendered: TypeAlias = Mapping[str, Any]


class PlainRenderer:
    """Chat messages and texts -> vLLM's engine input. Nothing in it changes; threads share it."""

    def __init__(self, tokenizer: Any, form: Rendered, adds_special_tokens: bool) -> None:
        """`tokenizer` is transformers', with a Rust one inside; `form` an engine input of vLLM's,
        for its members beside the tokens."""
        from transformers import PreTrainedTokenizerBase
        from transformers.utils.chat_template_utils import render_jinja_template

        self._render = render_jinja_template
        self._template = tokenizer.chat_template
        self._special_tokens = dict(tokenizer.special_tokens_map)
        reserved = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
        self._reserved = {*reserved, *self._special_tokens}
        """Switches that mean something else than a template's variable."""
        self._encode = rust_tokenizer(tokenizer).encode_batch_fast
        self._adds_special_tokens = adds_special_tokens
        self._form = {name: form[name] for name in form if name not in _OF_ONE}

    def chat(
        self, messages: Sequence[Mapping[str, Any]], switches: Mapping[str, Any]
    ) -> Rendered | None:
        """`switches` are the template's own. None: this one goes vLLM's way, also where the
        template refuses it."""
        if not messages or not all(_is_plain(message) for message in messages):
            return None
        if not self._reserved.isdisjoint(switches):
            return None
        try:
            [text], _ = self._render(
                conversations=[list(messages)],
                chat_template=self._template,
                add_generation_prompt=True,
                **self._special_tokens,
                **switches,
            )
        except Exception:
            return None
        return self._rendered(text, adds_special_tokens=False)

    def text(self, text: str) -> Rendered:
        """A text without a template."""
        return self._rendered(text, self._adds_special_tokens) | {"prompt": text}

    def _rendered(self, text: str, adds_special_tokens: bool) -> dict[str, Any]:
        [encoded] = self._encode([text], add_special_tokens=adds_special_tokens)
        return {**self._form, "prompt_token_ids": encoded.ids, "arrival_time": time.time()}


def plain_renderer(
    tokenizer: Any,
    adds_special_tokens: bool,
    vllm_chat: Callable[[Sequence[Mapping[str, str]]], Rendered],
    vllm_text: Callable[[str], Rendered],
) -> PlainRenderer | None:
    """One that gives the tokens that vLLM's own calls give; None where there is no such."""
    inside = rust_tokenizer(tokenizer)
    if inside is None or not isinstance(tokenizer.chat_template, str):
        return None
    if inside.truncation is not None or inside.padding is not None:  # vLLM turns both off
        return None
    try:
        plain = PlainRenderer(tokenizer, vllm_text(TEXTS[0]), adds_special_tokens)
        if any(not _same(plain.text(text), vllm_text(text)) for text in TEXTS):
            return None
    except Exception:  # no text is ordinary to this one
        return None
    return plain if all(_agree(plain, probe, vllm_chat) for probe in PROBES) else None


def rust_tokenizer(tokenizer: Any) -> Any:
    """The `tokenizers.Tokenizer` inside; None where there is none."""
    from tokenizers import Tokenizer

    inside = getattr(tokenizer, "backend_tokenizer", None)
    return inside if isinstance(inside, Tokenizer) else None


def _agree(
    plain: PlainRenderer,
    probe: Sequence[tuple[str, str]],
    vllm_chat: Callable[[Sequence[Mapping[str, str]]], Rendered],
) -> bool:
    messages = [{"role": role, "content": content} for role, content in probe]
    rendered = plain.chat(messages, {})
    try:
        expected = vllm_chat(messages)
    except Exception:  # a template that refuses it, as many do a system prompt
        return rendered is None
    return rendered is not None and _same(rendered, expected)


def _same(a: Rendered, b: Rendered) -> bool:
    return all(a.get(name) == b.get(name) for name in {*a, *b} - {"arrival_time"})


def _is_plain(message: Mapping[str, Any]) -> bool:
    return (
        message.keys() == _MEMBERS
        and message["role"] in _ROLES
        and isinstance(message["content"], str)
        and not message["content"].startswith(_TAKEN_OUT)
    )
