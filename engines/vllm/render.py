"""Messages, text or token ids -> what vLLM reads: templates and tokenising. Called in threads.

vLLM's own asynchronous forms hop between the loop and a thread for the template, again for the
tokens, with a task for each: 0.2 ms of a short request's 1.3.
"""

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.answers.model_tools import ModelTools
from engines.answers.openai_tools import openai_tool
from engines.answers.system_messages import all_first
from engines.answers.tool_history import with_read_arguments
from engines.answers.tool_templates import tool_template
from engines.base import GenerateRequest, InvalidRequest, PromptEnd
from engines.text_bound import TextBound, kept_characters, longest_token_bytes
from engines.vllm.plain_render import plain_renderer

_END: Mapping[PromptEnd, Mapping[str, bool]] = {
    "answer": {"add_generation_prompt": True},
    "message": {"add_generation_prompt": False},
    "inside_message": {"add_generation_prompt": False, "continue_final_message": True},
}
"""transformers' names."""


class Renderer:
    """One engine's. Safe to call from several threads."""

    def __init__(self, llm: Any, vllm_threads: int = 1, is_plain_tried: bool = True) -> None:
        """Blocks: vLLM's first prompt takes up to a second. `vllm_threads`: so many threads go
        vLLM's way at once. It keeps one tokenizer more than its `renderer_num_workers`, for the
        event loop; who finds none copies one on the spot, which stops everybody for half a
        second. Without `is_plain_tried` all goes vLLM's way."""
        self._llm = llm
        self._vllm_turn = threading.BoundedSemaphore(vllm_threads)
        self._published = getattr(llm.tokenizer, "chat_template", None)
        self.tools = ModelTools(self._published, self._has_token)
        longest = longest_token_bytes(list(llm.tokenizer.get_vocab()))
        self._text_bound = TextBound(llm.model_config.max_model_len, longest)
        self._plain = None
        if is_plain_tried and not getattr(
            llm.model_config, "enable_prompt_embeds", False
        ):  # marks in the text
            self._plain = plain_renderer(
                llm.tokenizer,
                llm.renderer.default_cmpl_tok_params.add_special_tokens,
                lambda messages: self._vllm_chat(messages, {}),
                lambda text: self._vllm_prompts([text])[0],
            )

    def chat(self, request: GenerateRequest) -> Mapping[str, Any]:
        """The chat template applied, and tokenised. Blocks. Raises ContextLengthExceeded."""
        self._text_bound.check_characters(kept_characters(request.messages or ()))
        request = self.tools.with_parser(request)
        messages, switches = self.tools.messages(request), request.chat_template_kwargs
        if self._plain is not None and not request.tools and request.prompt_end == "answer":
            rendered = self._plain.chat(messages, switches)
            if rendered is not None:
                return rendered
        template = tool_template(request, self._published)
        switches = {**_END[request.prompt_end], **switches}
        # None, and not an empty list, where the template should not speak of tools.
        tools = [openai_tool(tool) for tool in self.tools.shown(request)] or None
        try:
            return self._vllm_chat(messages, switches, tools, template)
        except Exception:
            moved = all_first([dict(message) for message in messages])
            if moved is None:
                raise
            return self._vllm_chat(moved, switches, tools, template)

    def prompts(self, prompts: Sequence[str | Sequence[int]]) -> Sequence[Mapping[str, Any]]:
        """Text or token ids as they are, without a template. Blocks. Raises InvalidRequest."""
        for prompt in prompts:
            if isinstance(prompt, str):
                self._text_bound.check_characters(len(prompt))
        if self._plain is None or not prompts:
            return self._vllm_prompts(prompts)
        return [
            self._plain.text(prompt)
            if prompt and isinstance(prompt, str)
            else self._vllm_prompts([prompt])[0]
            for prompt in prompts
        ]

    def token_ids(self, ids: Sequence[int]) -> Mapping[str, Any]:
        """vLLM's own engine input for a prompt of these. Blocks. Raises InvalidRequest."""
        [rendered] = self._vllm_prompts([ids])
        return rendered

    def _vllm_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        switches: Mapping[str, Any],
        tools: list[dict[str, Any]] | None = None,
        template: str | None = None,
    ) -> Mapping[str, Any]:
        from vllm.renderers import ChatParams

        always = {"add_generation_prompt": True, "tools": tools}
        params = ChatParams(chat_template=template, chat_template_kwargs=always | dict(switches))
        renderer = self._llm.renderer
        copied = [with_read_arguments(message) for message in messages]
        lengths = _unlimited(renderer.default_chat_tok_params)
        with self._vllm_turn:
            _, [rendered] = renderer.render_chat([copied], params, lengths)
        return dict(rendered)

    def _has_token(self, text: str) -> bool:
        return len(self._llm.tokenizer.encode(text, add_special_tokens=False)) == 1

    def _vllm_prompts(self, prompts: Sequence[str | Sequence[int]]) -> Sequence[Mapping[str, Any]]:
        from vllm.inputs import TextPrompt

        vocabulary = self._llm.model_config.get_vocab_size()
        parsed = [
            TextPrompt(prompt=prompt)
            if isinstance(prompt, str)
            else tokens_prompt(_checked(prompt, vocabulary))
            for prompt in prompts
        ]
        renderer = self._llm.renderer
        with self._vllm_turn:
            return list(renderer.render_cmpl(parsed, _unlimited(renderer.default_cmpl_tok_params)))


def tokens_prompt(token_ids: Iterable[int]) -> Any:
    from vllm.inputs import TokensPrompt

    return TokensPrompt(prompt_token_ids=list(token_ids))


def _unlimited(lengths: Any) -> Any:
    """An over-long prompt must be counted for the caller, not refused here."""
    return dataclasses.replace(lengths, max_total_tokens=None)


def _checked(token_ids: Sequence[int], vocabulary: int) -> Sequence[int]:
    if not token_ids:
        raise InvalidRequest("The prompt is empty.", "prompt")
    if min(token_ids) < 0 or max(token_ids) >= vocabulary:
        raise InvalidRequest(f"Token ids are from 0 to {vocabulary - 1}.", "prompt")
    return token_ids
