"""The events of a streamed transcription: pieces are heard at once, and told in their order."""

from engines.base import Delta, Usage
from server.api.audio.answers import Recorded
from server.api.audio.segments import MARK
from server.api.chat.stream import event
from server.error_body import Error


class SpokenStream:
    """One stream's."""

    __slots__ = ("_ended", "_now", "_piece_has_text", "_recorded", "_said", "_waiting")

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._now = 0
        """The piece that is told."""
        self._piece_has_text = False
        self._waiting: list[list[str]] = [[] for _ in recorded.lengths_s]
        self._ended: set[int] = set()
        self._said: list[str] = []

    def open(self) -> bytes:
        return b""

    def delta(self, d: Delta) -> bytes:
        self._waiting[d.index].append(d.text)
        if d.finish_reason is not None:
            self._ended.add(d.index)
        told = self._told()
        while self._now in self._ended:
            self._now, self._piece_has_text = self._now + 1, False
            told += self._told()
        return told

    def close(self, usage: Usage) -> bytes:
        text = "".join(self._said)
        return event({"type": "transcript.text.done", "text": text, "usage": self._recorded.usage})

    def fail(self, body: Error) -> bytes:
        return b"event: error\n" + event(body)

    def _told(self) -> bytes:
        """What there is of the piece now."""
        if self._now >= len(self._waiting):
            return b""
        text = MARK.sub("", "".join(self._waiting[self._now]))
        self._waiting[self._now].clear()
        if not self._piece_has_text:
            text = text.lstrip()
        if not text:
            return b""
        if not self._piece_has_text and self._said:
            text = self._recorded.separator + text
        self._piece_has_text = True
        self._said.append(text)
        return event({"type": "transcript.text.delta", "delta": text})
