"""The operations of speech."""

from functools import partial
from typing import Any, Final

from pydantic import BaseModel

from server.api.audio import endpoints
from server.api.audio.answers import Transcription, TranscriptionEvent, VerboseTranscription
from server.api.audio.wire import TranscriptionRequest, TranslationRequest
from server.api.openapi.operation import Operation


def _form(fields: type[BaseModel]) -> dict[str, Any]:
    schema = fields.model_json_schema(ref_template="#/components/schemas/{model}")
    properties = {"file": {"type": "string", "format": "binary"}, **schema["properties"]}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", *schema["required"]],
                    "properties": properties,
                }
            }
        },
    }


_own = partial(Operation, tag="audio", verb="post", takes_key=True)
AUDIO_OPERATIONS: Final[tuple[Operation, ...]] = (
    _own(
        paths=("/v1/audio/transcriptions",),
        build=endpoints.Transcriptions,
        summary="Write down what is said",
        description="For models whose task is `transcribe`. JSON, text or subtitles, or a stream.",
        raw_body=_form(TranscriptionRequest),
        answer=Transcription | VerboseTranscription,
        event=TranscriptionEvent,
    ),
    _own(
        paths=("/v1/audio/translations",),
        build=endpoints.Translations,
        tag="audio_translations",
        summary="Write down in English what is said",
        raw_body=_form(TranslationRequest),
        answer=Transcription | VerboseTranscription,
    ),
)
