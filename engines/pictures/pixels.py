"""A picture's pixels, as a model's processor wants them."""

from typing import Any

from engines.base import InvalidRequest
from engines.content import Picture
from engines.pictures.bounds import LOW_SIDE
from engines.pictures.opening import Unreadable, opened, upright


def pixels(picture: Picture, size: tuple[int, int] | None = None) -> Any:
    """Pillow's image in RGB, of that size. Blocks, for a second where it is large. Raises
    InvalidRequest."""
    try:
        with opened(picture.data) as image:
            seen = upright(image)
    except Unreadable as error:
        raise InvalidRequest(f"A picture {error}.", "messages") from None
    if size is not None:
        return seen if seen.size == size else seen.resize(size, reducing_gap=2.0)
    if picture.is_low:
        seen.thumbnail((LOW_SIDE, LOW_SIDE))
    return seen
