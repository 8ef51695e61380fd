"""The events of one of llama.cpp's answers, as its bytes come: HTTP's chunks and the server-sent
events in them. http.client would read on, and whoever reads must be able to change."""

_BEGIN = b"data: "


class ChunkedEvents:
    """After the answer's head. ValueError where the bytes are none of HTTP's chunks."""

    __slots__ = ("_raw", "_text", "is_ended")

    def __init__(self) -> None:
        self._raw = self._text = b""
        self.is_ended = False
        """Its last chunk was there."""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that are whole now."""
        raw = self._raw + data if self._raw else data
        text, begin = self._text, 0
        while not self.is_ended and (line := raw.find(b"\r\n", begin)) >= 0:
            size = int(raw[begin:line], 16)
            end = line + 2 + size
            if len(raw) < end + 2:
                break
            text += raw[line + 2 : end]
            begin, self.is_ended = end + 2, size == 0
        self._raw = raw[begin:]
        *events, self._text = text.split(b"\n\n")
        return [event[len(_BEGIN) :] for event in events if event.startswith(_BEGIN)]
