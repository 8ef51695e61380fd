"""A recording's pieces and the fields beside it -> what to generate."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from engines.audio.decoding import seconds_of
from engines.base import GenerateRequest, Sampling
from engines.registry.spec import ModelSpec
from engines.speech import TOKENS_A_SECOND, Speech, SpokenLanguage
from server.api.audio.answers import Recorded, SpokenAnswer, media_type
from server.api.audio.languages import LANGUAGES
from server.api.audio.stream import SpokenStream
from server.api.audio.wire import REFUSED, SpeechFields, TranscriptionRequest
from server.api.fields import refuse
from server.errors import ApiError
from server.requests.plan import Plan, Stream, Whole

_WITH_TIMES = ("srt", "vtt", "verbose_json")


def check_speech(wire: SpeechFields) -> None:
    """All that can be refused before the recording is looked at. Raises ApiError 400."""
    refuse(wire.model_extra, REFUSED)
    if wire.language is not None and wire.language not in LANGUAGES:
        expected = "a code of ISO 639-1, like en or no"
        message = f"language {wire.language!r} is not known; expected {expected}."
        raise ApiError.invalid(message, "language", wire.language, expected)
    if isinstance(wire, TranscriptionRequest):
        _check_transcription(wire)


def _check_transcription(wire: TranscriptionRequest) -> None:
    asked = wire.timestamp_granularities or []
    if asked and (wire.form != "verbose_json" or set(asked) != {"segment"}):
        expected = "segment alone, with response_format verbose_json"
        message = f"timestamp_granularities is for {expected}."
        raise ApiError.invalid(message, "timestamp_granularities", asked, expected)
    if wire.stream and wire.form not in ("json", "text"):
        message = f"A stream has no {wire.form}; expected response_format json or text."
        raise ApiError.invalid(message, "response_format", wire.form, "json or text")


def build_speech(
    wire: SpeechFields,
    spec: ModelSpec,
    request_id: str,
    heard: Sequence[memoryview],
    billed_s: int,
    *,
    translates: bool,
) -> Plan:
    """`heard`: the recording's pieces, in order; each is a request."""
    language = SpokenLanguage(wire.language)
    lengths_s = [seconds_of(samples) for samples in heard]
    drawn = Sampling(
        max_tokens=spec.output_tokens,
        temperature=wire.temperature or 0.0,
        logprobs=0 if wire.form == "verbose_json" else None,
    )
    is_stream = isinstance(wire, TranscriptionRequest) and bool(wire.stream)
    requests = tuple(
        GenerateRequest(
            request_id=f"{request_id}.{number}" if number else request_id,
            sampling=drawn,
            speech=Speech(
                samples=samples,
                tokens=tokens,
                language=language,
                translates=translates,
                said_before=wire.prompt or "",
                has_times=wire.form in _WITH_TIMES,
            ),
            stream=is_stream,
        )
        for number, (samples, tokens) in enumerate(
            zip(heard, _shares(lengths_s, billed_s), strict=True)
        )
    )
    recorded = Recorded(
        lengths_s=lengths_s,
        billed_s=billed_s,
        language=language,
        translates=translates,
        temperature=drawn.temperature,
    )
    shape: Stream | Whole = SpokenAnswer(recorded, wire.form)
    if is_stream:
        shape = SpokenStream(recorded)
    return Plan(
        requests=requests,
        shape=shape,
        has_max_tokens=False,
        whole_type=media_type(wire.form),
        wire_names={"messages": "prompt"},
    )


def _shares(lengths_s: Sequence[float], billed_s: int) -> Iterator[int]:
    """Of what is billed, each piece's: whole tokens, all of it together."""
    whole = billed_s * TOKENS_A_SECOND
    ends = [min(whole, int(end * TOKENS_A_SECOND)) for end in accumulate(lengths_s)]
    ends[-1] = whole
    return (end - begin for begin, end in pairwise([0, *ends]))
