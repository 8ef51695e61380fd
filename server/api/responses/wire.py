"""Wire types of /v1/responses: what OpenAI's newer clients send."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, PrivateAttr, TypeAdapter

from server.api.chat.wire import JsonSchema, SamplingFields
from server.api.chat.wire_thinking import ReasoningOptions, ThinkingFields
from server.api.chat.wire_values import (
    MAX_ITEMS,
    MAX_TOOLS,
    AnyObject,
    Metadata,
    Stored,
    Switches,
    Tokens,
    Verbosity,
    Wire,
)


class InputPart(Wire):
    """A piece of an item's content; what is no text is refused by its type, not by its shape."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Annotated[
        str | None, Field(description="An input_image's: a data URL, or an allowed address")
    ] = None
    detail: Annotated[str | None, Field(description="An input_image's: auto, low or high")] = None
    file_id: Annotated[str | None, Field(description="Only null: image_url is read")] = None


KeptName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
"""The id of something that is kept."""
InputParts = Annotated[list[InputPart], Field(max_length=MAX_ITEMS, fail_fast=True)]


class FlatTool(Wire):
    """A function, a custom tool, a namespace of such, or a tool_search that the client runs. Others
    are left out: no tool runs here."""

    type: str
    name: (
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_.-]+$")] | None
    ) = None
    description: str | None = None
    parameters: AnyObject | None = None
    strict: bool | None = None
    format: Annotated[
        AnyObject | None, Field(description="A custom tool's; a grammar is shown, not enforced")
    ] = None
    execution: Annotated[str | None, Field(description="A tool_search's: who runs it")] = None
    tools: Annotated[
        Annotated[list["FlatTool"], Field(max_length=MAX_TOOLS, fail_fast=True)] | None,
        Field(description="A namespace's"),
    ] = None


FlatTools = Annotated[list[FlatTool], Field(max_length=MAX_TOOLS, fail_fast=True)]


class InputItem(Wire):
    """A message (with role and content), or one of the items that an earlier response returned:
    message, reasoning, a call; a call's output; or more tools."""

    type: Annotated[str | None, Field(description="message, if not given")] = None
    id: str | None = None
    status: str | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | InputParts | None = None
    summary: InputParts | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Annotated[
        str | AnyObject | None, Field(description="A tool_search_call's is an object")
    ] = None
    execution: Annotated[str | None, Field(description="Who ran a tool_search")] = None
    input: Annotated[str | None, Field(description="A custom_tool_call's")] = None
    action: Annotated[AnyObject | None, Field(description="A local_shell_call's")] = None
    output: str | InputParts | None = None
    tools: Annotated[
        FlatTools | None, Field(description="Of additional_tools and a tool_search_output: offered")
    ] = None


class TextFormat(JsonSchema):
    """The form of the answer: text, json_object, or json_schema with its schema beside it."""

    type: Literal["text", "json_object", "json_schema"]


class TextConfig(Wire):
    format: TextFormat | None = None
    verbosity: Annotated[
        Verbosity | None, Field(description="medium, or what the model's template knows")
    ] = None


class FlatChoice(Wire):
    type: str
    name: str | None = None


class ReasoningConfig(ReasoningOptions):
    summary: Annotated[
        Literal["auto", "concise", "detailed"] | None,
        Field(description="The whole trace comes in the summary's place"),
    ] = None


class ConversationRef(Wire):
    id: KeptName


class Recalled(NamedTuple):
    """What a request has of the memory."""

    items: Sequence[InputItem] = ()
    """Those before its own, the oldest first."""
    input: "str | Sequence[InputItem]" = ()
    """Its own: `input`, its references followed."""
    keep: Callable[[Any], Any] | None = None
    """Its stream of events -> the shape that keeps it; None: it is not kept."""


class ResponsesRequest(ThinkingFields, SamplingFields):
    """The body of /v1/responses. Its conversation is in `input`, or kept here."""

    input: Annotated[
        str | Annotated[list[InputItem], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)],
        Field(description="A user's text, or the items of a conversation"),
    ]
    instructions: Annotated[str | None, Field(description="Put first, as a system message")] = None
    max_output_tokens: Annotated[
        Tokens | None,
        Field(description="Most tokens, reasoning included; the model's limit if not"),
    ] = None
    text: Annotated[TextConfig | None, Field(description="The form of the answer")] = None
    tools: Annotated[
        FlatTools | None,
        Field(description="Functions the model may call; without effect where it cannot"),
    ] = None
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | FlatChoice | None,
        Field(description="Which tool is called: none, auto, required, or a named function"),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Field(description="false: one call at most")] = None
    reasoning: Annotated[
        ReasoningConfig | None, Field(description="Effort, and whether a summary is wanted")
    ] = None
    top_logprobs: Annotated[
        Annotated[int, Field(ge=0, le=20)] | None,
        Field(description="So many likeliest tokens at each place"),
    ] = None
    include: Annotated[
        Annotated[list[str], Field(max_length=64, fail_fast=True)] | None,
        Field(description='"message.output_text.logprobs" turns logprobs on'),
    ] = None
    metadata: Annotated[Metadata | None, Field(description="Comes back as it is")] = None
    store: Annotated[
        bool | None,
        Field(description="Whether it is kept for later; the server's settings, if not given"),
    ] = None
    truncation: Annotated[
        Literal["auto", "disabled"] | None,
        Field(description="Never done: what does not fit is a 400"),
    ] = None
    background: Annotated[
        bool | None, Field(description="Answer at once, and run without the client; needs store")
    ] = None
    previous_response_id: Annotated[
        KeptName | None, Field(description="Go on from a kept response")
    ] = None
    conversation: Annotated[
        KeptName | ConversationRef | None, Field(description="Read it, and add to it; needs store")
    ] = None
    prompt: Annotated[Any, Field(description="Only null")] = None
    max_tool_calls: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="Of built-in tools: without effect")
    ] = None
    stream_options: Annotated[Switches | None, Field(description="Without effect")] = None
    service_tier: Annotated[Stored | None, Field(description="Without effect")] = None
    safety_identifier: Annotated[Stored | None, Field(description="Without effect")] = None
    prompt_cache_key: Annotated[Stored | None, Field(description="Without effect")] = None

    _recalled: Recalled | None = PrivateAttr(None)

    @property
    def recalled(self) -> Recalled | None:
        """None: it knows of no memory."""
        return self._recalled

    def recall(self, recalled: Recalled) -> None:
        """Before anything is made of it."""
        self._recalled = recalled

    @property
    def given(self) -> str | Sequence[InputItem]:
        """Its input, references to kept items followed."""
        return self.input if self._recalled is None else self._recalled.input

    @property
    def conversation_id(self) -> str | None:
        chosen = self.conversation
        return chosen.id if isinstance(chosen, ConversationRef) else chosen

    @property
    def has_max_tokens(self) -> bool:
        return self.max_output_tokens is not None

    @property
    def wants_logprobs(self) -> bool:
        return self.top_logprobs is not None or (
            "message.output_text.logprobs" in (self.include or ())
        )

    @property
    def verbosity_asked(self) -> tuple[str, str | None]:
        return "text.verbosity", self.text.verbosity if self.text else None

    @property
    def wants_summary(self) -> bool:
        return bool(self.reasoning and self.reasoning.summary)


RESPONSES: TypeAdapter[ResponsesRequest] = TypeAdapter(ResponsesRequest)
