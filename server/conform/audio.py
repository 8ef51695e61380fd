"""Checks: speech, where a model hears it (--speech-model)."""

import io
import json
import wave
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import Target
from server.conform.unmet import Skipped

TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
TRANSLATIONS: Final = "/v1/audio/translations"
SECONDS: Final = 2
_RATE: Final = 16_000


@declared("audio-json")
def as_json(t: Target) -> None:
    """A recording gives its text, and whole seconds as its usage"""
    body = expect.ok(_asked(t))
    expect.that(isinstance(body.get("text"), str), "text", body)
    expect.equal("usage", body.get("usage"), {"type": "duration", "seconds": SECONDS})


@declared("audio-forms")
def as_text(t: Target) -> None:
    """response_format text, srt and vtt are text"""
    for form, begins in (("text", ""), ("srt", ""), ("vtt", "WEBVTT\n")):
        answer = _asked(t, response_format=form)
        expect.status(answer, 200)
        kind = answer.headers.get("content-type", "")
        expect.that("json" not in kind, "a text", kind)
        expect.that(answer.text.startswith(begins), f"{form} begins with {begins!r}", answer.text)


@declared("audio-verbose")
def with_times(t: Target) -> None:
    """verbose_json has task, language, duration and segments with their times"""
    body = expect.ok(_asked(t, response_format="verbose_json"))
    expect.equal("task", body.get("task"), "transcribe")
    expect.equal("language", body.get("language"), "english")
    expect.equal("duration", round(body.get("duration", 0)), SECONDS)
    for segment in body["segments"]:
        is_within = 0 <= segment["start"] <= segment["end"] <= SECONDS
        expect.that(is_within, "times within the recording", segment)


@declared("audio-stream")
def streamed(t: Target) -> None:
    """A stream's deltas are the text of its last event, which has the usage"""
    answer = _asked(t, stream="true")
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    *deltas, done = [json.loads(line) for line in lines if line != "[DONE]"]
    expect.equal("the last event", done.get("type"), "transcript.text.done")
    said = "".join(delta.get("delta", "") for delta in deltas)
    expect.equal("the deltas", said, done.get("text"))
    expect.equal("usage.seconds", (done.get("usage") or {}).get("seconds"), SECONDS)


@declared("audio-translate")
def translated(t: Target) -> None:
    """A translation says so"""
    body = expect.ok(_asked(t, TRANSLATIONS, response_format="verbose_json"))
    expect.equal("task", body.get("task"), "translate")


@declared("audio-refused")
def refused(t: Target) -> None:
    """What is no recording, an unknown form, words' times and a strange language: 400 by name"""
    wrong: tuple[tuple[str, dict[str, Any]], ...] = (
        ("response_format", {"response_format": "diarized_json"}),
        ("timestamp_granularities", {"timestamp_granularities[]": "word"}),
        ("language", {"language": "xx"}),
        ("temperature", {"temperature": "2"}),
    )
    for param, fields in wrong:
        error = expect.refused(_asked(t, **fields), 400, "INVALID_PARAMETER")
        expect.equal("error.param", error.get("param"), param)
    error = expect.refused(_asked(t, recording=b"no sound"), 400, "INVALID_PARAMETER")
    expect.equal("error.param", error.get("param"), "file")


@declared("audio-form")
def no_form(t: Target) -> None:
    """A body that is no multipart form: 415"""
    answer = t.post(TRANSCRIPTIONS, {"model": _model(t)})
    expect.refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def _model(t: Target) -> str:
    if t.options.speech_model is None:
        raise Skipped("name a model that hears speech with --speech-model")
    return t.options.speech_model


def _asked(
    t: Target, path: str = TRANSCRIPTIONS, *, recording: bytes | None = None, **fields: Any
) -> httpx.Response:
    form = {"model": _model(t), "language": "en"} | fields
    file = {"file": ("a.wav", _hum() if recording is None else recording)}
    return t.http.post(path, data=form, files=file, headers=t.auth)


def _hum() -> bytes:
    """A WAV file of SECONDS."""
    period = b"".join(
        (((i % 160) - 80) * 100).to_bytes(2, "little", signed=True) for i in range(160)
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(_RATE)
        written.writeframes(period * (SECONDS * _RATE // 160))
    return file.getvalue()
