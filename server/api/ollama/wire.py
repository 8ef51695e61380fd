"""Wire types of Ollama's API: what its clients send (ollama/ollama, docs/api.md)."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, PrivateAttr, TypeAdapter
from pydantic_core import PydanticCustomError

from server.api.chat.wire import Asked, ChatMessage, Tools
from server.api.chat.wire_values import (
    MAX_ITEMS,
    AnyObject,
    Penalty,
    Probability,
    Seed,
    StopList,
    StopString,
    Temperature,
    Wire,
)
from server.api.embeddings import MAX_INPUTS
from server.api.ollama.durations import LONGEST, seconds_of
from server.api.ollama.messages import chat_messages
from server.api.ollama.wire_messages import OllamaMessage

Think: TypeAlias = bool | Literal["low", "medium", "high"]
KeepAlive: TypeAlias = float | Annotated[str, Field(max_length=LONGEST)]


def _duration(value: KeepAlive) -> KeepAlive:
    try:
        seconds_of(value)
    except ValueError:
        raise PydanticCustomError("no_duration", "no duration") from None
    return value


Duration = Annotated[KeepAlive, AfterValidator(_duration)]


class OllamaOptions(Wire):
    """How an answer is drawn. What says how a model is loaded has no effect: that is the
    registry's."""

    num_predict: Annotated[
        Annotated[int, Field(ge=-2, le=2**31 - 1)] | None,
        Field(description="Most tokens of the answer; 0, -1 and -2: what the model's limit allows"),
    ] = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    min_p: Probability | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0.01, le=2, allow_inf_nan=False)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: StopString | StopList | None = None


def untagged(name: str) -> str:
    """A model's name without the tag that Ollama's clients put behind one that has none."""
    return name.removesuffix(":latest")


def _streamed(value: bool | None) -> bool:
    return value is not False


class KeptAlive(Asked):
    """A model, and for how long it is wished to stay."""

    model: Annotated[
        str,
        Field(min_length=1, description="Model alias; `:latest` behind it is passed over"),
        AfterValidator(untagged),
    ]
    keep_alive: Annotated[
        Duration | None,
        Field(description="Without effect: how long a model stays is the registry's"),
    ] = None


class GeneratingFields(KeptAlive):
    """What chat and generate share."""

    stream: Annotated[
        bool | None,
        Field(description="As lines of JSON; true if not given"),
        AfterValidator(_streamed),
    ] = True
    format: Annotated[
        Literal["", "json"] | AnyObject | None,
        Field(description='"json", or the JSON schema that the answer must have'),
    ] = None
    options: Annotated[OllamaOptions | None, Field(description="How the answer is drawn")] = None
    think: Annotated[Think | None, Field(description="Whether, or how hard, it thinks")] = None
    logprobs: Annotated[bool | None, Field(description="With each token its log probability")] = (
        None
    )
    top_logprobs: Annotated[
        Annotated[int, Field(ge=0, le=20)] | None,
        Field(description="So many likeliest tokens at each place; needs logprobs"),
    ] = None

    @property
    def says_something(self) -> bool:
        """Or it is only to load its model."""
        raise NotImplementedError


class OllamaChatRequest(GeneratingFields):
    """The body of /api/chat. Without messages the model is loaded, and nothing is said."""

    messages: Annotated[
        Annotated[list[OllamaMessage], Field(max_length=MAX_ITEMS, fail_fast=True)] | None,
        Field(description="The conversation so far"),
    ] = None
    tools: Annotated[
        Tools | None,
        Field(description="Functions the model may call; without effect where it cannot"),
    ] = None

    _chat: list[ChatMessage] = PrivateAttr(default_factory=list)

    def model_post_init(self, _: object) -> None:
        """A long body is read in a thread, and so are its messages then."""
        self._chat += chat_messages(self.messages or ())

    @property
    def chat(self) -> list[ChatMessage]:
        """The messages as chat has them."""
        return self._chat

    @property
    def says_something(self) -> bool:
        return bool(self.messages)


class OllamaGenerateRequest(GeneratingFields):
    """The body of /api/generate. Without a prompt the model is loaded, and nothing is said."""

    prompt: Annotated[str | None, Field(description="What is asked")] = None
    system: Annotated[str | None, Field(description="A system message before it")] = None
    raw: Annotated[bool | None, Field(description="true: without the chat template")] = None
    images: Annotated[
        Annotated[list[str], Field(max_length=MAX_ITEMS, fail_fast=True)] | None,
        Field(description="Pictures in base64, for models that read some"),
    ] = None

    @property
    def says_something(self) -> bool:
        return bool(self.prompt or self.images)


Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_INPUTS, fail_fast=True)]


class OllamaEmbedRequest(KeptAlive):
    """The body of /api/embed."""

    input: Annotated[Text | Texts, Field(description="A text or several: a vector for each")]
    truncate: Annotated[
        bool | None, Field(description="false: a longer text is refused; else it is cut")
    ] = None
    dimensions: Annotated[
        Annotated[int, Field(ge=1)] | None, Field(description="Shorter vectors, where allowed")
    ] = None
    options: Annotated[AnyObject | None, Field(description="Without effect")] = None


class OllamaEmbeddingsRequest(KeptAlive):
    """The body of /api/embeddings, the older form."""

    prompt: Annotated[Text, Field(description="A text")]
    options: Annotated[AnyObject | None, Field(description="Without effect")] = None


class NamedModel(Wire):
    """A body that names a model: by `model`, or `name` as it was called before."""

    model: Annotated[
        Annotated[str, Field(min_length=1)] | None, Field(description="A model's name")
    ] = None
    name: Annotated[
        Annotated[str, Field(min_length=1)] | None, Field(description="As model, in older clients")
    ] = None
    stream: Annotated[bool | None, Field(description="Without effect: one line says it")] = None


OLLAMA_CHAT: TypeAdapter[OllamaChatRequest] = TypeAdapter(OllamaChatRequest)
OLLAMA_GENERATE: TypeAdapter[OllamaGenerateRequest] = TypeAdapter(OllamaGenerateRequest)
OLLAMA_EMBED: TypeAdapter[OllamaEmbedRequest] = TypeAdapter(OllamaEmbedRequest)
OLLAMA_EMBEDDINGS: TypeAdapter[OllamaEmbeddingsRequest] = TypeAdapter(OllamaEmbeddingsRequest)
NAMED_MODEL: TypeAdapter[NamedModel] = TypeAdapter(NamedModel)
