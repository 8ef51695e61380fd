"""The fields of /v1/audio/transcriptions and /v1/audio/translations beside the recording."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from server.api.chat.wire import Asked
from server.api.fields import LEAVE_OUT, Refused

Format: TypeAlias = Literal["json", "text", "srt", "verbose_json", "vtt"]
MOST_PROMPT: Final = 4096
_LANGUAGE = r"^[a-z]{2,3}$"


_MOST_TEMPERATURE: Final = 1


def _number(value: Any) -> Any:
    """A form's text that is no number says what one would be here: chats have another range."""
    if isinstance(value, str):
        context = {"le": _MOST_TEMPERATURE}
        raise PydanticCustomError("float_type", "Input should be a number", context)
    return value


class SpeechFields(Asked):
    """What both take."""

    language: Annotated[
        Annotated[str, Field(pattern=_LANGUAGE)] | None,
        Field(description="What is spoken, ISO 639-1; without it the model finds out"),
    ] = None
    prompt: Annotated[
        Annotated[str, Field(max_length=MOST_PROMPT)] | None,
        Field(description="Names, a style, the end of what came before"),
    ] = None
    response_format: Annotated[Format | None, Field(description="json, without it")] = None
    temperature: Annotated[
        Annotated[
            float, BeforeValidator(_number), Field(ge=0, le=_MOST_TEMPERATURE, allow_inf_nan=False)
        ]
        | None,
        Field(description="0, without it: the likeliest words"),
    ] = None

    @property
    def form(self) -> Format:
        return self.response_format or "json"


class TranslationRequest(SpeechFields):
    """The form of /v1/audio/translations."""


class TranscriptionRequest(SpeechFields):
    """The form of /v1/audio/transcriptions."""

    stream: Annotated[bool | None, Field(description="As server-sent events")] = None
    timestamp_granularities: Annotated[
        Annotated[list[str], Field(max_length=2)] | None,
        Field(description="segment, with verbose_json; words have no times"),
    ] = None


TRANSCRIPTIONS: Final[TypeAdapter[TranscriptionRequest]] = TypeAdapter(TranscriptionRequest)
TRANSLATIONS: Final[TypeAdapter[TranslationRequest]] = TypeAdapter(TranslationRequest)
REFUSED: Final[Mapping[str, Refused]] = {
    "include": Refused(LEAVE_OUT, ([],)),
    "chunking_strategy": Refused('"auto"', ("auto",)),
    "known_speaker_names": Refused(LEAVE_OUT, ([],)),
    "known_speaker_references": Refused(LEAVE_OUT, ([],)),
    "to_language": Refused("/v1/audio/translations, into English"),
    "hotwords": Refused("prompt"),
    "use_beam_search": Refused(LEAVE_OUT, ("false", "False")),
    "max_completion_tokens": Refused(LEAVE_OUT),
    "top_p": Refused("temperature"),
    "top_k": Refused("temperature"),
    "min_p": Refused("temperature"),
    "seed": Refused("temperature 0"),
    "frequency_penalty": Refused(LEAVE_OUT),
    "presence_penalty": Refused(LEAVE_OUT),
    "repetition_penalty": Refused(LEAVE_OUT),
}
"""OpenAI's and vLLM's other fields, which would change the answer."""
