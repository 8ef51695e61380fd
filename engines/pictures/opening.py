"""A picture's bytes -> Pillow's image, its size known before anything is decoded."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engines.pictures.bounds import (
    EXPECTED,
    FORMATS,
    MOST_PIXELS,
    MOST_PIXELS_TOGETHER,
    MOST_SIDE,
)


class Unreadable(Exception):
    """The message goes on from "the picture": "is cut off"."""


@contextmanager
def opened(data: bytes) -> Iterator[Any]:
    """The first frame, not decoded yet. Raises Unreadable, which it also makes of whatever Pillow
    raises inside."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are looked at here
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        with image:
            _check_size(*image.size)
            yield image
    except (Unreadable, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Unreadable(f"has too many pixels; right would be at most {MOST_PIXELS}") from None
    except UnidentifiedImageError:
        raise Unreadable(f"is of no format that is read here; right would be {EXPECTED}") from None
    except Exception:
        raise Unreadable("is damaged or cut off; right would be the whole file") from None


def upright(image: Any) -> Any:
    """Decoded: RGB, turned as its camera says, on white where it is transparent."""
    from PIL import Image, ImageOps

    image.seek(0)
    image.load()
    turned = ImageOps.exif_transpose(image)
    if not turned.has_transparency_data:
        return turned.convert("RGB")
    whole = turned.convert("RGBA")
    ground = Image.new("RGB", whole.size, "white")
    ground.paste(whole, mask=whole.getchannel("A"))
    return ground


def check_room(width: int, height: int, room: int) -> None:
    """`room`: what the pictures before it have left of all that a request may have. Raises
    Unreadable."""
    if width * height > room:
        right = f"at most {MOST_PIXELS_TOGETHER} pixels in all pictures of a request"
        raise Unreadable(f"is one too many; right would be {right}")


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
        right = f"at most {MOST_PIXELS} pixels, {MOST_SIDE} a side"
        raise Unreadable(f"has {width} by {height} pixels; right would be {right}")
