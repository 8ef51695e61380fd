"""How large a picture may be."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Pillow's names. Of one that moves the first frame is read."""
EXPECTED = "a PNG, JPEG, WebP or GIF picture"
MOST_BYTES = 20 * 2**20
MOST_PIXELS = 40_000_000
MOST_PIXELS_TOGETHER = 2 * MOST_PIXELS
"""Of all pictures of a request: 240 MB, while its prompt is made."""
MOST_SIDE = 16_384
LOW_SIDE = 512
"""Of a picture whose detail is "low"."""
