"""Wire types of what a request says of thinking, in the many words that clients have for it."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from engines.registry.spec import Effort
from server.api.chat.wire_values import Switches, Wire

Budget: TypeAlias = Annotated[int, Field(ge=-1, le=2**31 - 1)]
"""Tokens of a thought; -1: no bound, 0: no thought."""
Tokens: TypeAlias = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ThinkingConfig(Wire):
    """DeepSeek's, Anthropic's and others' own."""

    type: Annotated[
        Literal["enabled", "disabled", "auto", "adaptive"],
        Field(description="auto and adaptive leave it to the model"),
    ]
    budget_tokens: Annotated[Tokens | None, Field(description="As thinking_token_budget")] = None


class ReasoningOptions(Wire):
    """OpenRouter's words, beside OpenAI's effort."""

    effort: Annotated[Effort | None, Field(description="As reasoning_effort in chat")] = None
    enabled: Annotated[bool | None, Field(description="As thinking.type")] = None
    max_tokens: Annotated[Tokens | None, Field(description="As thinking_token_budget")] = None
    exclude: Annotated[bool | None, Field(description="true: as include_reasoning false")] = None


class BudgetFields(Wire):
    """How long a thought may be: vLLM's name, and others' for the same."""

    thinking_token_budget: Annotated[
        Budget | None,
        Field(description="Most tokens of a thought, its marks aside; 0: none, -1: no bound"),
    ] = None
    thinking_budget: Annotated[Budget | None, Field(description="thinking_token_budget")] = None
    thinking_budget_tokens: Annotated[
        Budget | None, Field(description="thinking_token_budget, as llama.cpp has it")
    ] = None
    reasoning_budget: Annotated[Budget | None, Field(description="thinking_token_budget")] = None
    reasoning_budget_tokens: Annotated[
        Budget | None, Field(description="thinking_token_budget, as llama.cpp has it")
    ] = None


class ThinkingFields(Wire):
    """Whether there is a thought, and whether it is shown."""

    chat_template_kwargs: Annotated[
        Switches | None, Field(description="Switches of the model's chat template")
    ] = None
    enable_thinking: Annotated[bool | None, Field(description="As in chat_template_kwargs")] = None
    thinking: Annotated[
        ThinkingConfig | None, Field(description="Whether the model thinks, and how long")
    ] = None
    include_reasoning: Annotated[
        bool | None, Field(description="false: the trace is billed and not shown")
    ] = None
