"""Pictures on their way to llama.cpp: as PNGs of our own writing, so that its decoder of C reads
nothing that a stranger wrote, and not larger than any model looks at."""

import functools
import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeAlias

from engines.content import Picture
from engines.pictures.bounds import LOW_SIDE
from engines.pictures.pixels import pixels

Size: TypeAlias = tuple[int, int]
MOST_PIXELS = 2**22
"""Of one: a larger one is made smaller. As many as models look at (Qwen3-VL, SmolVLM); llama.cpp
takes 0.1 s to read a million characters of base64."""
MOST_PIXELS_TOGETHER = 6 * MOST_PIXELS
"""Of a request's; more are made smaller alike. llama.cpp takes a call of 100 MiB, and pixels that
no PNG makes smaller are 96 of it in base64."""

MOST_TIMES_LONGER = 64
"""Than wide, or wide than long: of a narrower one projectors make pictures without pixels."""


@dataclass(frozen=True, slots=True)
class PicturePrompt:
    """A prompt as llama.cpp reads it."""

    text: str
    """With llama.cpp's mark where a picture stands."""
    pictures: tuple[Picture, ...]
    known_as: tuple[int, ...]
    """A number for each token: equal ones for equal pictures."""
    salt: str | None = None
    """What llama.cpp keeps of a picture is found by requests with the same one."""

    def field(self) -> dict[str, Any]:
        """The `prompt` of a call; msgspec writes bytes in base64. Blocks. Raises InvalidRequest."""
        shown = zip(self.pictures, sizes(self.pictures), strict=True)
        note = None if self.salt is None else sha256(self.salt.encode()).hexdigest()
        data = [_png(pixels(picture, size), note) for picture, size in shown]
        return {"prompt_string": self.text, "multimodal_data": data}


def sizes(pictures: Sequence[Picture]) -> list[Size]:
    """As they are shown, in pixels."""
    own = [_own_size(picture) for picture in pictures]
    together = sum(width * height for width, height in own)
    if together <= MOST_PIXELS_TOGETHER:
        return own
    scale = math.sqrt(MOST_PIXELS_TOGETHER / together)
    return [_scaled(size, scale) for size in own]


def _own_size(picture: Picture) -> Size:
    width, height = picture.width, picture.height
    scale = math.sqrt(min(1.0, MOST_PIXELS / (width * height)))
    if picture.is_low:
        scale = min(scale, LOW_SIDE / max(width, height))
    return _scaled((width, height), scale)


def _scaled(size: Size, scale: float) -> Size:
    least = -(-int(max(size) * scale) // MOST_TIMES_LONGER)
    width, height = (max(1, least, int(side * scale)) for side in size)
    return width, height


@functools.lru_cache(256)
def blank(size: Size) -> bytes:
    """A PNG of that size, black and small: its size alone says how many tokens it has."""
    from PIL import Image

    return _png(Image.new("1", size))


def _png(image: Any, note: str | None = None) -> bytes:
    """With a `note` in it, which makes it another file: llama.cpp knows them by their hash."""
    from PIL.PngImagePlugin import PngInfo

    file, words = io.BytesIO(), PngInfo()
    if note is not None:
        words.add_text("note", note)
    image.save(file, "PNG", compress_level=1, compress_type=zlib.Z_RLE, pnginfo=words)
    return file.getvalue()
