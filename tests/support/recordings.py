"""Recordings made here: a tone with pauses, in the formats that people send."""

import io
import math
import struct
import wave

RATE = 16_000


def tone(seconds: float, *, rate: int = RATE, channels: int = 1, pause_every_s: float = 0) -> bytes:
    """A WAV file. A pause is 0.3 s of silence at the end of each `pause_every_s`."""
    period = [int(9000 * math.sin(i * 2 * math.pi * 40 / rate)) for i in range(rate // 40)]
    count = int(seconds * rate)
    samples = (period * (count // len(period) + 1))[:count]
    if pause_every_s:
        step, pause = int(pause_every_s * rate), int(0.3 * rate)
        for end in range(step, count + 1, step):
            samples[end - pause : end] = [0] * pause
    frames = struct.pack(f"<{count}h", *samples)
    if channels == 2:
        frames = b"".join(frames[i : i + 2] * 2 for i in range(0, len(frames), 2))
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(frames)
    return file.getvalue()


def encoded(wav: bytes, container: str, codec: str, rate: int = 48_000) -> bytes:
    """The same as another kind of file."""
    import av
    from av.audio.stream import AudioStream

    file = io.BytesIO()
    with av.open(io.BytesIO(wav), "r") as read, av.open(file, "w", format=container) as written:
        stream = written.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        for frame in read.decode(audio=0):
            written.mux(stream.encode(frame))
        written.mux(stream.encode(None))
    return file.getvalue()
