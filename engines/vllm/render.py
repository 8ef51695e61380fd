"""Messages, text or token ids -> what vLLM reads: templates and tokenising. Called in threads.

vLLM's own asynchronous forms hop between the loop and a thread for the template, again for the
tokens, with a task for each: 0.2 ms of a short request's 1.3.
"""

import dataclasses
import functools
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.answers.model_tools import ModelTools
from engines.answers.openai_tools import openai_tool
from engines.answers.strict_templates import first_accepted, leaves_out_later_system
from engines.answers.system_messages import all_first
from engines.answers.tool_history import with_read_arguments
from engines.answers.tool_templates import tool_template
from engines.base import (
    GenerateRequest,
    InvalidRequest,
    PairOptions,
    PromptEnd,
    TextPair,
    Truncation,
)
from engines.host.interpreter_turns import give_way
from engines.inputs import encodable, input_at
from engines.text_bound import TextBound, all_texts, kept_texts, longest_token_bytes
from engines.truncation import FIELD, TextEnds
from engines.vllm.pictures import with_pixels
from engines.vllm.plain_render import PlainRenderer, plain_renderer, rust_tokenizer
from engines.vllm.worker_limits import check_token_ids

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
        hidden = frozenset(getattr(llm.tokenizer, "all_special_tokens", ()))
        self.tools = ModelTools(self._published, self._has_token, hidden=hidden)
        tokens = llm.tokenizer.get_vocab()
        longest = longest_token_bytes(list(tokens))
        self._vocabulary = int(llm.model_config.get_vocab_size())
        self._knows_more = max(tokens.values(), default=0) >= self._vocabulary
        self._text_bound = TextBound(llm.model_config.max_model_len, longest)
        self._is_system_first = leaves_out_later_system(self._chat_text)
        """Its template leaves out system messages that are not first."""
        self.plain: PlainRenderer | None = None
        if is_plain_tried and not getattr(
            llm.model_config, "enable_prompt_embeds", False
        ):  # marks in the text
            self.plain = plain_renderer(
                llm.tokenizer,
                llm.renderer.default_cmpl_tok_params.add_special_tokens,
                lambda messages: self._vllm_chat(messages, {}),
                lambda text: self._vllm_prompts([text])[0],
            )

    def prompt(self, request: GenerateRequest) -> Mapping[str, Any]:
        """Its messages, text or token ids. Blocks. Raises InvalidRequest."""
        if request.messages is not None:
            return self.chat(request)
        return self.prompts([request.prompt or ""], request.is_cut)[0]

    def plain_chat(self, request: GenerateRequest) -> Mapping[str, Any] | None:
        """`chat` past vLLM; None: not this one. Raises InvalidRequest."""
        rendered = self._plainly(request, self._messages(request))
        return None if rendered is None else self._held(rendered, "messages")

    def chat(self, request: GenerateRequest) -> Mapping[str, Any]:
        """The chat template applied, and tokenised. Blocks. Raises InvalidRequest."""
        return self._held(self._chat(request), "messages")

    def _chat(self, request: GenerateRequest) -> Mapping[str, Any]:
        messages = self._messages(request)
        if (rendered := self._plainly(request, messages)) is not None:
            return rendered
        request = self.tools.with_parser(request)
        messages = with_pixels(messages, request.cache_salt)
        template = tool_template(request, self._published)
        switches = {**_END[request.prompt_end], **request.chat_template_kwargs}
        # None, and not an empty list, where the template should not speak of tools.
        tools = [openai_tool(tool) for tool in self.tools.shown(request)] or None
        return first_accepted(
            lambda form: self._vllm_chat(form, switches, tools, template), messages
        )

    def _messages(self, request: GenerateRequest) -> Sequence[Mapping[str, Any]]:
        """The messages as a template has them."""
        self._check_chat(request)
        messages = self.tools.messages(self.tools.with_parser(request))
        if self._is_system_first:
            return all_first([dict(message) for message in messages]) or messages
        return messages

    def _plainly(
        self, request: GenerateRequest, messages: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, Any] | None:
        """Past vLLM, where that may be."""
        if self.plain is None or request.tools or request.prompt_end != "answer":
            return None
        return self.plain.chat(messages, request.chat_template_kwargs)

    def inputs(
        self, inputs: Sequence[str | Sequence[int]], truncation: Truncation | None
    ) -> Sequence[Mapping[str, Any]]:
        """As `prompts`, each as far as the truncation keeps it. Blocks. Raises InvalidRequest."""
        if truncation is None:
            return self.prompts(inputs)
        context_tokens = self._llm.model_config.max_model_len
        kept = [
            self._kept(index, given, truncation, context_tokens)
            for index, given in enumerate(inputs)
        ]
        return self._vllm_prompts(kept)

    def check_tokens(self, token_ids: Sequence[int], param: str) -> None:
        """Of a text that was tokenised elsewhere. Raises InvalidRequest."""
        self._held({"prompt_token_ids": token_ids}, param)

    def _kept(
        self, index: int, given: str | Sequence[int], truncation: Truncation, context_tokens: int
    ) -> Sequence[int]:
        with input_at(index):
            [rendered] = self.prompts([given], is_cut=True)
            if isinstance(given, str):
                return truncation.kept(rendered["prompt_token_ids"], context_tokens, self._ends)
            return truncation.kept(given, context_tokens)

    def check_pair(self, pair: TextPair, options: PairOptions) -> None:
        """Before it is tokenised. Raises ContextLengthExceeded, InvalidRequest."""
        encodable(pair.query, "query")
        encodable(pair.document, "documents")
        asked = [pair.query, options.instruction or ""]
        if options.truncation is None and options.most_document_tokens is None:
            self._check_length([*asked, pair.document])
            return
        self._check_length(asked)
        self._check_read([pair.document], FIELD)

    @functools.cached_property
    def _ends(self) -> TextEnds:
        """What begins and ends a text: seen around a letter."""
        marked, bare = (
            self._llm.tokenizer.encode("a", add_special_tokens=adds) for adds in (True, False)
        )
        return TextEnds.around(marked, bare)

    def prompts(
        self, prompts: Sequence[str | Sequence[int]], is_cut: bool = False
    ) -> Sequence[Mapping[str, Any]]:
        """Text or token ids as they are, without a template; `is_cut`: a text need not fit.
        Blocks. Raises InvalidRequest."""
        for index, prompt in enumerate(prompts):
            with input_at(index):
                self._check_prompt(prompt, is_cut)
        if self.plain is None or not prompts:
            rendered = self._vllm_prompts(prompts)
        else:
            rendered = [
                self.plain.text(prompt)
                if prompt and isinstance(prompt, str)
                else self._vllm_prompts([prompt])[0]
                for prompt in prompts
            ]
        for index, each in enumerate(rendered):
            with input_at(index):
                self._held(each, "prompt")
        return rendered

    def _check_prompt(self, prompt: str | Sequence[int], is_cut: bool) -> None:
        if not isinstance(prompt, str):
            _checked(prompt, self._vocabulary)
        elif is_cut:
            self._check_read([prompt], FIELD)
        else:
            self._check_length([prompt])

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
        lengths = unlimited(renderer.default_chat_tok_params)
        with self._vllm_turn:
            _, [rendered] = renderer.render_chat([copied], params, lengths)
        return dict(rendered)

    def _chat_text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        ids = self._vllm_chat(messages, {})["prompt_token_ids"]
        return str(self._llm.tokenizer.decode(ids))

    def _held(self, rendered: Mapping[str, Any], param: str) -> Mapping[str, Any]:
        if self._knows_more:
            check_token_ids(rendered["prompt_token_ids"], self._vocabulary, param)
        return rendered

    def _check_chat(self, request: GenerateRequest) -> None:
        """Raises ContextLengthExceeded, InvalidRequest."""
        messages = request.messages or ()
        if request.is_cut:
            self._check_read(all_texts(messages), FIELD)
            return
        self._check_length(kept_texts(messages))
        own = [message for message in messages if message["role"] == "assistant"]
        self._check_read(all_texts(own), "messages")

    def _check_length(self, texts: Sequence[str]) -> None:
        """Raises ContextLengthExceeded."""
        self._text_bound.check_characters(sum(map(len, texts)))
        self._text_bound.check_tokens(texts, self._token_count)

    def _check_read(self, texts: Sequence[str], param: str) -> None:
        """Raises InvalidRequest."""
        self._text_bound.check_read(texts, self._token_count, param)

    def _token_count(self, text: str) -> int:
        give_way()
        tokenizer = rust_tokenizer(self._llm.tokenizer)
        if tokenizer is None:
            return len(self._llm.tokenizer.encode(text, add_special_tokens=False))
        [encoded] = tokenizer.encode_batch_fast([text], add_special_tokens=False)
        return len(encoded)

    def _has_token(self, text: str) -> bool:
        return len(self._llm.tokenizer.encode(text, add_special_tokens=False)) == 1

    def _vllm_prompts(self, prompts: Sequence[str | Sequence[int]]) -> Sequence[Mapping[str, Any]]:
        from vllm.inputs import TextPrompt

        parsed = [
            TextPrompt(prompt=prompt)
            if isinstance(prompt, str)
            else tokens_prompt(_checked(prompt, self._vocabulary))
            for prompt in prompts
        ]
        renderer = self._llm.renderer
        with self._vllm_turn:
            return list(renderer.render_cmpl(parsed, unlimited(renderer.default_cmpl_tok_params)))


def tokens_prompt(token_ids: Iterable[int], cache_salt: str | None = None) -> Any:
    from vllm.inputs import TokensPrompt

    prompt = TokensPrompt(prompt_token_ids=list(token_ids))
    if cache_salt is not None:
        prompt["cache_salt"] = cache_salt
    return prompt


def unlimited(lengths: Any) -> Any:
    """An over-long prompt must be counted for the caller, not refused here."""
    return dataclasses.replace(lengths, max_total_tokens=None)


def _checked(token_ids: Sequence[int], vocabulary: int) -> Sequence[int]:
    if not token_ids:
        raise InvalidRequest("The prompt is empty.", "prompt", "a prompt with tokens")
    if min(token_ids) < 0 or max(token_ids) >= vocabulary:
        raise InvalidRequest(
            f"Token ids are from 0 to {vocabulary - 1}.",
            "prompt",
            f"token ids from 0 to {vocabulary - 1}",
        )
    return token_ids
