"""What Ollama's API answers, as types: of a whole answer, and of each line of a stream."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from server.api.chat.wire_answers import TokenLogprob


class WholeFunction(TypedDict):
    index: int
    name: str
    arguments: dict[str, Any]


class WholeCall(TypedDict):
    id: str
    function: WholeFunction


class SaidMessage(TypedDict):
    role: Literal["assistant"]
    content: str
    thinking: NotRequired[str]
    tool_calls: NotRequired[list[WholeCall]]


class Ending(TypedDict, total=False):
    """Of the last line, and of a whole answer; durations in nanoseconds."""

    done_reason: Literal["stop", "length", "load"]
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int


class Line(Ending):
    model: str
    created_at: str
    done: bool
    logprobs: NotRequired[list[TokenLogprob]]


class OllamaChatLine(Line):
    message: SaidMessage


class OllamaGenerateLine(Line):
    response: str
    thinking: NotRequired[str]


class OllamaVectors(TypedDict):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaVector(TypedDict):
    embedding: list[float]


class OllamaDetails(TypedDict):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ListedModel(TypedDict):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: OllamaDetails


class Tags(TypedDict):
    models: list[ListedModel]


class RunningModel(ListedModel):
    expires_at: str
    size_vram: int
    context_length: int


class RunningModels(TypedDict):
    models: list[RunningModel]


class ShownModel(TypedDict):
    modelfile: str
    parameters: str
    template: str
    license: str
    modified_at: str
    details: OllamaDetails
    model_info: dict[str, Any]
    capabilities: list[str]


class OllamaVersion(TypedDict):
    version: str


class OllamaStatus(TypedDict):
    status: str


class OllamaError(TypedDict):
    """The one body of every error of this API."""

    error: str
