"""What was heard, as a client asked for it: JSON, text, subtitles."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NotRequired

import msgspec
from pydantic import Field
from typing_extensions import TypedDict

from engines.base import Delta, Usage
from engines.speech import SpokenLanguage
from server.api.audio.languages import LANGUAGES, WITHOUT_SPACES
from server.api.audio.segments import HeardPiece, Segment
from server.api.audio.wire import Format

TEXT: Final = b"text/plain; charset=utf-8"
SUBRIP: Final = b"application/x-subrip; charset=utf-8"
VTT: Final = b"text/vtt; charset=utf-8"


class Duration(TypedDict):
    """What is billed."""

    type: Literal["duration"]
    seconds: Annotated[int, Field(description="Each that has begun")]


class Transcription(TypedDict):
    """What was said, or its translation."""

    text: str
    usage: Duration


class TranscribedSegment(TypedDict):
    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: Annotated[list[int], Field(description="Always empty")]
    temperature: float
    avg_logprob: Annotated[float, Field(description="Of all the piece that it was heard in")]
    compression_ratio: float
    no_speech_prob: Annotated[None, Field(description="Not known")]


class VerboseTranscription(TypedDict):
    """With `verbose_json`."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[TranscribedSegment]
    usage: Duration


class TranscriptionEvent(TypedDict):
    """One event of a stream."""

    type: Literal["transcript.text.delta", "transcript.text.done"]
    delta: NotRequired[str]
    text: NotRequired[str]
    usage: NotRequired[Duration]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What is known of a recording before it is heard, and as what it is written down."""

    lengths_s: Sequence[float]
    """Of its pieces."""
    billed_s: int
    language: SpokenLanguage
    translates: bool
    temperature: float

    def pieces(self) -> list[HeardPiece]:
        begins = [sum(self.lengths_s[:number]) for number in range(len(self.lengths_s))]
        return [HeardPiece(*both) for both in zip(begins, self.lengths_s, strict=True)]

    @property
    def usage(self) -> Duration:
        return {"type": "duration", "seconds": self.billed_s}

    @property
    def separator(self) -> str:
        written = "en" if self.translates else self.language.code
        return "" if written in WITHOUT_SPACES else " "


class SpokenAnswer:
    """A whole answer: the fold of its deltas, in the form that was asked for."""

    __slots__ = ("_form", "_pieces", "_recorded")

    def __init__(self, recorded: Recorded, form: Format) -> None:
        self._recorded, self._form = recorded, form
        self._pieces = recorded.pieces()

    def add(self, d: Delta) -> None:
        self._pieces[d.index].add(d)

    def body(self, usage: Usage) -> bytes:
        return _FORMS[self._form][1](self._recorded, self._pieces)


def media_type(form: Format) -> bytes:
    return _FORMS[form][0]


def _text(recorded: Recorded, pieces: Sequence[HeardPiece]) -> str:
    return recorded.separator.join(filter(None, (piece.text for piece in pieces)))


def _segments(pieces: Sequence[HeardPiece]) -> list[Segment]:
    return [segment for piece in pieces for segment in piece.segments()]


def _json(recorded: Recorded, pieces: Sequence[HeardPiece]) -> bytes:
    answer: Transcription = {"text": _text(recorded, pieces), "usage": recorded.usage}
    return msgspec.json.encode(answer)


def _verbose(recorded: Recorded, pieces: Sequence[HeardPiece]) -> bytes:
    code = recorded.language.code or ""
    answer: VerboseTranscription = {
        "task": "translate" if recorded.translates else "transcribe",
        "language": LANGUAGES.get(code, code),
        "duration": round(sum(recorded.lengths_s), 2),
        "text": _text(recorded, pieces),
        "segments": [
            _shown(number, segment, recorded.temperature)
            for number, segment in enumerate(_segments(pieces))
        ],
        "usage": recorded.usage,
    }
    return msgspec.json.encode(answer)


def _shown(number: int, segment: Segment, temperature: float) -> TranscribedSegment:
    encoded = segment.text.encode("utf-8", "replace")
    return {
        "id": number,
        "seek": int(segment.start * 100),
        "start": round(segment.start, 2),
        "end": round(segment.end, 2),
        "text": segment.text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": segment.logprob,
        "compression_ratio": len(encoded) / len(zlib.compress(encoded)),
        "no_speech_prob": None,
    }


def _plain(recorded: Recorded, pieces: Sequence[HeardPiece]) -> bytes:
    return _text(recorded, pieces).encode("utf-8", "replace") + b"\n"


def _subrip(recorded: Recorded, pieces: Sequence[HeardPiece]) -> bytes:
    blocks = [
        f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_one_line(s.text)}\n\n"
        for number, s in enumerate(_segments(pieces), 1)
    ]
    return "".join(blocks).encode("utf-8", "replace")


def _vtt(recorded: Recorded, pieces: Sequence[HeardPiece]) -> bytes:
    blocks = [
        f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{_one_line(s.text)}\n\n"
        for s in _segments(pieces)
    ]
    return ("WEBVTT\n\n" + "".join(blocks)).encode("utf-8", "replace")


def _one_line(text: str) -> str:
    """An arrow or an empty line would begin another cue."""
    return " ".join(text.split()).replace("-->", "->")


def _clock(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


_FORMS: Final[Mapping[Format, tuple[bytes, Callable[[Recorded, Sequence[HeardPiece]], bytes]]]] = {
    "json": (b"application/json", _json),
    "verbose_json": (b"application/json", _verbose),
    "text": (TEXT, _plain),
    "srt": (SUBRIP, _subrip),
    "vtt": (VTT, _vtt),
}
