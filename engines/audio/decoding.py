"""A recording's file -> samples, in a child process of its own."""

import asyncio
import importlib.util
import math
import sys
from typing import BinaryIO, Final

from engines.audio.decoder_child import MOST_CPU_S, REFUSED
from engines.host.child_job import REPOSITORY
from engines.host.confined import bare_environment
from engines.speech import BYTES_A_SAMPLE, SAMPLE_RATE

AT_ONCE: Final = 2
_LONGEST_S: Final = 3.0 * MOST_CPU_S
"""By the clock: a busy machine is no long recording."""
_PIECE: Final = 2**20
_REASONS: Final = {
    "no_sound": "it has no sound",
    "unreadable": "it is damaged, or of another format",
}
KNOWN: Final = "a recording as wav, mp3, flac, ogg, m4a, mp4, webm, aac, amr or aiff"


class RecordingRefused(Exception):
    """Why, in words that end a sentence."""


class CannotDecode(Exception):
    """This installation decodes nothing."""


class Decoder:
    """So many recordings at once; the others wait. For one event loop."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def samples(self, file: BinaryIO) -> memoryview:
        """All of a file, which is read from where it is: 32,000 bytes a second. Raises
        RecordingRefused, CannotDecode. The child is gone when this returns."""
        if importlib.util.find_spec("av") is None:
            raise CannotDecode("The package av is not installed.")
        async with self._turn:
            return await self._decoded(file)

    async def _decoded(self, file: BinaryIO) -> memoryview:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "engines.audio.decoder_child", f"{self._most_s:g}"),
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=bare_environment() | {"PYTHONPATH": REPOSITORY},
        )
        assert child.stdout is not None
        try:
            async with asyncio.timeout(_LONGEST_S):
                samples = await self._read(child.stdout)
                said = await child.stderr.read(4096) if child.stderr is not None else b""
                status = await child.wait()
        except TimeoutError:
            raise RecordingRefused("it takes too long to decode") from None
        finally:
            if child.returncode is None:
                child.kill()
                await asyncio.shield(child.wait())
        if status == REFUSED:
            raise self._refused(said.decode(errors="replace"))
        if status != 0:
            raise RecordingRefused("it takes too much time or memory to decode")
        if not samples:
            raise RecordingRefused(_REASONS["no_sound"])
        return memoryview(samples)

    async def _read(self, stream: asyncio.StreamReader) -> bytearray:
        """The child bounds itself; this is for one that does not."""
        most = int(self._most_s * SAMPLE_RATE + 1) * BYTES_A_SAMPLE
        samples = bytearray()
        while piece := await stream.read(_PIECE):
            samples += piece
            if len(samples) > most:
                raise self._refused("too_long")
        return samples

    def _refused(self, reason: str) -> RecordingRefused:
        if reason == "too_long":
            return RecordingRefused(f"it is longer than {self._most_s:g} seconds")
        return RecordingRefused(_REASONS.get(reason, _REASONS["unreadable"]))


def seconds_of(samples: bytes | memoryview) -> float:
    return len(samples) / (SAMPLE_RATE * BYTES_A_SAMPLE)


def billed_seconds(samples: memoryview) -> int:
    """Each second that has begun."""
    return math.ceil(seconds_of(samples))
