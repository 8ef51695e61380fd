"""Wire types of /v1/messages and /v1/messages/count_tokens: what Anthropic's clients send."""

from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, TypeAdapter

from engines.registry.spec import Effort
from server.api.chat.wire import Asked, JsonSchema, SamplingFields
from server.api.chat.wire_thinking import ReasoningOptions, ThinkingConfig, ThinkingFields
from server.api.chat.wire_values import (
    MAX_TOOLS,
    AnyObject,
    StopList,
    Stored,
    Tokens,
    Wire,
)
from server.api.messages.conversation import conversation
from server.api.messages.wire_content import System, Turns


class MessagesTool(Wire):
    """A tool that the client runs: by its schema. No tool runs here."""

    type: Annotated[str | None, Field(description="custom, if not given")] = None
    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.-]+$")]
    description: str | None = None
    input_schema: AnyObject | None = None
    strict: bool | None = None


class MessagesToolChoice(Wire):
    type: Literal["auto", "any", "tool", "none"]
    name: Annotated[str | None, Field(description="Of a tool")] = None
    disable_parallel_tool_use: Annotated[
        bool | None, Field(description="true: one call at most")
    ] = None


class MessagesThinking(ThinkingConfig):
    type: Annotated[  # type: ignore[assignment]
        Literal["enabled", "disabled", "adaptive", "between_tools", "auto"],
        Field(description="adaptive, between_tools and auto leave it to the model"),
    ]
    display: Annotated[
        Literal["summarized", "omitted"] | None,
        Field(description="omitted: the trace is billed and not shown"),
    ] = None


class OutputFormat(JsonSchema):
    type: Literal["json_schema"]


class OutputConfig(Wire):
    effort: Annotated[
        Effort | None, Field(description="Without effect where the model has no such effort")
    ] = None
    format: Annotated[OutputFormat | None, Field(description="The form of the answer")] = None


class MessagesMetadata(Wire):
    user_id: Annotated[Stored | None, Field(description="Stored with the usage record")] = None


class PromptFields(ThinkingFields):
    """What the prompt is made of."""

    messages: Annotated[Turns, Field(description="The conversation so far")]
    system: Annotated[str | System | None, Field(description="Put first")] = None
    tools: Annotated[
        Annotated[list[MessagesTool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None,
        Field(description="Tools the model may call; without effect where it cannot"),
    ] = None
    tool_choice: Annotated[MessagesToolChoice | None, Field(description="Which tool is called")] = (
        None
    )
    thinking: Annotated[
        MessagesThinking | None, Field(description="Whether the model thinks, and how long")
    ] = None
    output_config: Annotated[
        OutputConfig | None, Field(description="How hard it tries, and the answer's form")
    ] = None
    output_format: Annotated[
        OutputFormat | None, Field(description="output_config.format, as it was called before")
    ] = None
    context_management: Annotated[
        AnyObject | None, Field(description="Without effect: nothing of a context is dropped")
    ] = None

    _read: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def model_post_init(self, _: object) -> None:
        """A long body is read in a thread, and so are its messages then."""
        self._read += conversation(self.messages, self.system)

    @property
    def read(self) -> list[dict[str, Any]]:
        """The messages as chat templates read them."""
        return self._read

    @property
    def effort(self) -> str | None:
        return self.output_config.effort if self.output_config else None

    @property
    def reasoning(self) -> ReasoningOptions | None:
        """OpenAI's and OpenRouter's; not of this endpoint."""
        return None

    @property
    def verbosity_asked(self) -> tuple[str, str | None]:
        return "verbosity", None


class MessagesRequest(PromptFields, SamplingFields):
    """The body of /v1/messages."""

    max_tokens: Annotated[
        Tokens, Field(description="Most tokens of the answer, its trace included")
    ]
    temperature: Annotated[
        Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None,
        Field(description="0 always takes the likeliest token"),
    ] = 0.7
    stop_sequences: Annotated[
        StopList | None, Field(description="Ends the answer before any of these")
    ] = None
    metadata: Annotated[MessagesMetadata | None, Field(description="user_id is stored")] = None
    service_tier: Annotated[Stored | None, Field(description="Without effect")] = None
    thread: Annotated[
        AnyObject | None, Field(description="Not supported: nothing is stored here")
    ] = None

    @property
    def has_max_tokens(self) -> bool:
        return True


class CountRequest(PromptFields, Asked):
    """The body of /v1/messages/count_tokens."""


MESSAGES: TypeAdapter[MessagesRequest] = TypeAdapter(MessagesRequest)
COUNT_TOKENS: TypeAdapter[CountRequest] = TypeAdapter(CountRequest)
