"""The nouns engines and front share: a request, its deltas, the Engine protocol, and by name what
engines/errors.py, pooling.py, truncation.py, thought.py and adapter.py have."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from engines.adapter import Adapter
from engines.errors import (
    ContextLengthExceeded,
    EngineBehindDead,
    EngineBroken,
    EngineDead,
    EngineError,
    EngineHung,
    EngineLoadTimeout,
    EngineNeverFits,
    EngineNotLoaded,
    EngineOverloaded,
    EngineUnavailable,
    InvalidRequest,
    RequestKillsEngines,
)
from engines.pooling import Embedding, PairOptions, Pooling, Score, TextPair
from engines.speech import Speech
from engines.thought import Reasoning, ThinkingBudget
from engines.truncation import Truncation

__all__ = [
    "FOUND",
    "Adapter",
    "ContextLengthExceeded",
    "Delta",
    "Embedding",
    "Engine",
    "EngineBehindDead",
    "EngineBroken",
    "EngineDead",
    "EngineError",
    "EngineHung",
    "EngineLoadTimeout",
    "EngineNeverFits",
    "EngineNotLoaded",
    "EngineOverloaded",
    "EngineUnavailable",
    "FinishReason",
    "GenerateRequest",
    "InvalidRequest",
    "PairOptions",
    "Prompt",
    "PromptEnd",
    "Reasoning",
    "RequestKillsEngines",
    "Sampling",
    "Score",
    "Sink",
    "Speech",
    "Structure",
    "TextPair",
    "ThinkingBudget",
    "TokenLogprob",
    "Tool",
    "ToolCallDelta",
    "Truncation",
    "Usage",
]

FOUND = "found"
"""A request's `tool_parser` that the engine finds from its model."""
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "abort"]
"""OpenAI's words, and "abort" for a stream that was aborted; "abort" never reaches a client."""
PromptEnd: TypeAlias = Literal["answer", "message", "inside_message"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn. Every value is validated and final; defaults are neutral."""

    max_tokens: int
    """Upper bound on completion tokens of one choice, at least 1; 0: the prompt alone is read."""
    min_tokens: int = 0
    temperature: float = 1.0
    """0, the likeliest token, or at least 0.00001."""
    top_p: float = 1.0
    top_k: int = 0
    """0: all tokens."""
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these in the answer; thoughts may hold them. None of it
    is part of the text, but for `includes_stop_string`."""
    includes_stop_string: bool = False
    tells_stop: bool = False
    """Whether the last delta says which of `stop` ended it."""
    ignore_eos: bool = False
    logprobs: int | None = None
    """None: off. k: the chosen token's log probability and the k most likely ones (0..20)."""
    prompt_logprobs: int | None = None
    """The same for the prompt's own tokens."""
    thinking_budget: ThinkingBudget | None = None
    logit_bias: Mapping[int, float] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A form the answer (after any reasoning) must have. Exactly one kind."""

    kind: Literal["json_object", "json_schema", "regex", "choice", "grammar"]
    value: Any = None
    """json_schema: a dict; regex, grammar: a string; choice: strings; json_object: None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function the model may call. `parameters` is a JSON schema of an object."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One validated request. Exactly one of `messages`, `prompt` and `speech` is given.

    Messages are plain dicts in OpenAI's form, ready for a chat template; content is a string, with
    pictures a list of parts (engines/content.py). Without `stream` deltas may be fewer and larger.
    """

    request_id: str
    sampling: Sampling
    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | Sequence[int] | None = None
    speech: Speech | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """"auto", "none", "required", or the name of one of `tools` after "function:"."""
    parallel_tool_calls: bool = True
    tool_parser: str | None = None
    """The registry's parser name for this alias, or FOUND, with or without `tools`: the history may
    have calls. None: tools have no effect."""
    structure: Structure | None = None
    reasoning: Reasoning | None = None
    """None: the output is not split."""
    chat_template_kwargs: Mapping[str, Any] = msgspec.field(default_factory=dict)
    prompt_end: PromptEnd = "answer"
    """Where the chat template leaves off: at the answer's beginning, behind the last message, or
    inside of it, so that the answer is its continuation."""
    priority: int = 0
    """Lower runs first."""
    adapter: Adapter | None = None
    """What answers with the engine's weights; None: they alone."""
    cache_salt: str | None = None
    """What a prefix cache keeps of its prompt is found by requests with the same one; None: by all
    that have none."""
    shared_prompts: tuple[str, ...] = ()
    """System prompts that are nobody's own: what a prompt's beginning has of them all may find."""
    is_cut: bool = False
    """Its prompt will be cut: `render` makes tokens of a text that no context holds."""
    stream: bool = True


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered, tokenised prompt: what the model will read, and what is billed as input."""

    token_ids: Sequence[int]
    rendered: Any = None
    """The engine's own form of it, handed back to its `generate`; opaque to everybody else."""

    @property
    def token_count(self) -> int:
        return len(self.token_ids)


class TokenLogprob(msgspec.Struct, frozen=True, gc=False):
    """One token's log probability, with its alternatives (most likely first) for the chosen one."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top: tuple["TokenLogprob", ...] = ()


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of one tool call: `id` and `name` come once, on its first piece."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True, gc=False):
    """What one choice gained. Exactly the last delta of each index has a finish_reason.

    `token_count` is the number of the engine's own token ids behind this delta (reasoning,
    end-of-sequence and hidden tokens included); summed over a stream it is what is billed.
    `text` never ends inside a character.
    """

    index: int = 0
    text: str = ""
    token_count: int = 0
    finish_reason: FinishReason | None = None
    reasoning: str = ""
    reasoning_token_count: int = 0
    cached_tokens: int = 0
    """Prompt tokens found in the engine's prefix cache; on the first delta of a request only."""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()
    """Of every token of the prompt, on the first delta of each index; what the first one says of
    its probability means nothing, since nothing stands before it."""
    stop: str | None = None
    """With a finish_reason, where `tells_stop` asked for it: the stop string that was found."""
    gathered_s: float = 0.0
    """From its first token to its last one, where they come together; on a first delta."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request: the engine's own ids, all choices together."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class Sink(Protocol):
    """A reader that can take deltas the moment they are made, without being woken for each."""

    def is_ready(self) -> bool:
        """Whether `take` may be called now: not before the first yielded delta, nor while one is
        being read."""

    def take(self, delta: Delta) -> None:
        """Read one delta, at once. Must not block."""


class Engine(Pooling, Protocol):
    """One loaded model. All methods belong to the event loop of `start`; none blocks it."""

    context_tokens: int
    """The longest prompt plus completion it was started for; valid once `start` returned."""

    async def start(self) -> None:
        """Load the model; returns when it can generate. Called once. Raises EngineUnavailable,
        with the reason in words, when it cannot; leaves nothing running then."""

    async def stop(self) -> None:
        """End everything that `start` began; running streams raise EngineDead. Idempotent,
        also after a failed start."""

    async def check(self, timeout_s: float) -> None:
        """Ask the engine's own loop whether it lives. Raises EngineDead or EngineHung."""

    async def render(self, request: GenerateRequest) -> Prompt:
        """Apply the chat template and tokenise, off the event loop. Raises InvalidRequest.
        Checks no length: the caller compares with the context and sets `sampling.max_tokens`."""

    def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Yield the request's deltas, indices interleaved. An engine may give deltas to a ready
        `sink` instead of yielding them: in order, never the first nor one with a finish_reason.
        Raises InvalidRequest before the first delta, EngineOverloaded, EngineDead. Closing the
        iterator early (aclose) aborts it; tokens not yet read are then lost, so whoever bills calls
        `abort` and reads to the end."""

    async def abort(self, request_id: str) -> None:
        """End a running request: its iterator yields what was generated so far, then finish_reason
        "abort" for every unfinished index, and ends by itself. Unknown ids are ignored."""
