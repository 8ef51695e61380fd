"""`python -m engines.audio.decoder_child MOST_SECONDS`: a file on stdin -> its samples on stdout.

What a stranger made is read by FFmpeg, in a process with few rights: it opens no other file, no
connection and no container that names others (a playlist), and has bounded memory and time.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from typing import Any, BinaryIO, Final

from engines.host.confined import confine
from engines.host.warm_child import NICE
from engines.speech import BYTES_A_SAMPLE, SAMPLE_RATE

REFUSED: Final = 3
"""Its exit status, with the reason on stderr: no_sound, too_long or unreadable."""
FORMATS: Final = "wav,w64,aiff,mp3,flac,ogg,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,amr,caf"
"""FFmpeg's demuxers."""
MOST_CPU_S: Final = 60
_MOST_MEMORY: Final = 2**30


class NotDecoded(Exception):
    """The reason, as it goes to stderr."""


def main() -> None:
    os.nice(NICE)
    import av

    confine(_MOST_MEMORY, MOST_CPU_S)
    try:
        for samples in _decoded(av, sys.stdin.buffer, float(sys.argv[1])):
            sys.stdout.buffer.write(samples)
        sys.stdout.buffer.flush()
    except (NotDecoded, av.FFmpegError, MemoryError) as error:
        sys.stderr.write(str(error) if isinstance(error, NotDecoded) else "unreadable")
        sys.stderr.flush()
        os._exit(REFUSED)


def _decoded(av: Any, source: BinaryIO, most_s: float) -> Iterator[bytes]:
    only = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
    with av.open(source, mode="r", container_options=only, metadata_errors="replace") as file:
        if not file.streams.audio:
            raise NotDecoded("no_sound")
        stream = file.streams.audio[0]
        stream.thread_count = 1
        left = int(most_s * SAMPLE_RATE)
        for samples in _resampled(av, _frames(av, file, stream)):
            left -= len(samples) // BYTES_A_SAMPLE
            if left < 0:
                raise NotDecoded("too_long")
            yield samples


def _frames(av: Any, file: Any, stream: Any) -> Iterator[Any]:
    """Without the packets that do not decode, as a player has them; none at all is no recording."""
    has_any, is_bad = False, False
    for packet in file.demux(stream):
        try:
            for frame in packet.decode():
                has_any = True
                yield frame
        except av.error.InvalidDataError:
            is_bad = True
    if is_bad and not has_any:
        raise NotDecoded("unreadable")


def _resampled(av: Any, frames: Iterable[Any]) -> Iterator[bytes]:
    """Each run of frames of one kind by a resampler of its own."""
    for _, alike in groupby(frames, key=_kind):
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        for frame in chain(alike, [None]):  # None: what it still holds
            for out in resampler.resample(frame):
                yield bytes(out.planes[0])[: out.samples * BYTES_A_SAMPLE]


def _kind(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


if __name__ == "__main__":
    main()
