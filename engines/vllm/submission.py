"""GenerateRequest and its Prompt -> all that vLLM is asked for, whichever way it goes there."""

from dataclasses import dataclass
from typing import Any

from engines.answers.forced_calls import is_forced
from engines.base import GenerateRequest, Prompt, Structure
from engines.bias_tokens import check_bias_tokens
from engines.host.interpreter_turns import in_short_turns
from engines.vllm.collected_stream import CollectedStream
from engines.vllm.deltas import Choices
from engines.vllm.form_trial import FormTrials
from engines.vllm.json_grammar import JsonGrammars
from engines.vllm.pictures import has_pictures
from engines.vllm.plain_render import rust_tokenizer
from engines.vllm.prompt_logprobs import PromptLogprobs, check_prompt_logprobs
from engines.vllm.render import tokens_prompt
from engines.vllm.sampling import sampling_params
from engines.vllm.structured import (
    GuidedCalls,
    form_field,
    form_of,
    is_schema,
    structured_outputs,
)
from engines.vllm.thinking_budget import vllm_budget
from engines.vllm.tools import ToolReading, is_auto
from engines.vllm.vocabulary import Vocabulary

_ENDS_AT_ITS_MARK_ALONE = frozenset({"deepseek_r1"})
"""vLLM's reasoning parsers that are trusted with where a form begins. Others (`qwen3`) also end a
thought at a tool call's mark, which the form then refuses: vLLM ends the request."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One request, ready for vLLM."""

    request: GenerateRequest
    prompt: Prompt
    choices: Choices
    structure: Any
    """vLLM's StructuredOutputsParams; None: the answer has no form."""
    skips_special_tokens: bool
    reasoning_ended: bool | None
    """For vLLM's own reasoning parser, where the answer has a form; None: not its business."""
    thinking_tokens: int | None = None
    """The most of a thought, as vLLM counts them; None: no bound."""
    of_prompt: PromptLogprobs | None = None
    spaces_added_tokens: bool = True
    """Not where the tokenizer is Python, as Kimi K2's: vLLM would then write a space on each side
    of a tool call's marks, and so before the text behind them."""

    adapter: Any = None
    """vLLM's LoRARequest."""

    def sampling_params(self) -> Any:
        """Raises InvalidRequest."""
        return sampling_params(
            self.request,
            self.structure,
            self.skips_special_tokens,
            self.thinking_tokens,
            self.spaces_added_tokens,
        )


async def submission(
    request: GenerateRequest,
    prompt: Prompt,
    tokenizer: Any,
    vocabulary: Vocabulary,
    grammars: JsonGrammars,
    trials: FormTrials | None,
    reasoning_parser: str | None,
    is_guided: bool,
    vllm_config: Any = None,
    adapter: Any = None,
) -> Submission:
    """`reasoning_parser`: vLLM's, that it was started with. `is_guided`: a call has a form once
    the model begins one. Raises what vLLM's checks raise."""
    check_prompt_logprobs(request, prompt)
    if vllm_config is not None:
        check_bias_tokens(request.sampling.logit_bias, vllm_config.model_config.get_vocab_size())
    thinking_tokens = vllm_budget(request, prompt, vocabulary, vllm_config)
    reading = ToolReading(request, prompt, tokenizer) if is_auto(request) else None
    thinks = _thinks(request, prompt, vocabulary)
    # vLLM's parser waits for an end mark: where the model may also answer at once, that answer
    # would have no form.
    is_exact = reasoning_parser in _ENDS_AT_ITS_MARK_ALONE
    parser_waits = is_exact and thinks and _is_opened_by_template(request)
    thought = request.reasoning if thinks and not parser_waits else None
    form = await _form(request, grammars, is_guided)
    structure = None if form is None else structured_outputs(form, thought, vocabulary)
    if structure is not None and trials is not None:
        await trials.check(structure, form_field(request), is_guided or is_schema(request))
    return Submission(
        request,
        prompt,
        Choices(request, vocabulary, reading),
        structure,
        _skips_special_tokens(request, vocabulary, reading),
        None if structure is None or reasoning_parser is None else not parser_waits,
        thinking_tokens,
        _of_prompt(request, prompt, vocabulary),
        rust_tokenizer(tokenizer) is not None,
        adapter,
    )


async def submit_publicly(llm: Any, submission: Submission) -> CollectedStream:
    """Raises what `AsyncLLM.add_request` raises."""
    prompt, ended = submission.prompt, submission.reasoning_ended
    # Raw tokens are processed in a thread: compiling a large schema takes a second. Pictures come
    # as they were rendered, with a schema that a trial has compiled in time.
    is_bare = submission.structure is not None and not has_pictures(prompt.rendered)
    collector = await llm.add_request(
        submission.request.request_id,
        tokens_prompt(prompt.token_ids, prompt.rendered.get("cache_salt"))
        if is_bare
        else prompt.rendered,
        submission.sampling_params(),
        priority=submission.request.priority,
        **({} if submission.adapter is None else {"lora_request": submission.adapter}),
        **({} if ended is None else {"reasoning_ended": ended}),
    )
    return CollectedStream(collector, submission.choices, submission.of_prompt)


def _of_prompt(
    request: GenerateRequest, prompt: Prompt, vocabulary: Vocabulary
) -> PromptLogprobs | None:
    if request.sampling.prompt_logprobs is None:
        return None
    return PromptLogprobs(request, prompt, vocabulary)


def _thinks(request: GenerateRequest, prompt: Prompt, vocabulary: Vocabulary) -> bool:
    """Whether there may be a thought before the answer."""
    reasoning = request.reasoning
    return reasoning is not None and not vocabulary.is_closed(reasoning, prompt.token_ids)


def _is_opened_by_template(request: GenerateRequest) -> bool:
    return request.reasoning is not None and request.reasoning.opened_by == "template"


def _skips_special_tokens(
    request: GenerateRequest, vocabulary: Vocabulary, reading: ToolReading | None
) -> bool:
    """Not where a mark that is read in the text is a special token."""
    reasoning = request.reasoning
    if reasoning is not None and vocabulary.hides(reasoning):
        return False
    return reading is None or reading.skips_special_tokens


async def _form(
    request: GenerateRequest, grammars: JsonGrammars, is_guided: bool
) -> Structure | GuidedCalls | None:
    """In a thread: a large schema takes a second."""
    if request.structure is None and not (is_guided or is_forced(request)):
        return None
    return await in_short_turns(form_of, request, grammars, is_guided)
