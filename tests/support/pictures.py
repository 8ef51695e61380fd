"""Pictures for tests, made on the spot, and how bodies bring them."""

import base64
import io
import struct
import zlib
from typing import Any

from PIL import Image


def picture(
    size: tuple[int, int] = (32, 20), color: Any = "red", kind: str = "PNG", **options: Any
) -> bytes:
    """A file of one colour, with a stripe."""
    mode = "RGBA" if isinstance(color, tuple) and len(color) == 4 else "RGB"
    made = Image.new(mode, size, color)
    made.paste("white", (0, 0, max(1, size[0] // 2), 1))
    out = io.BytesIO()
    made.save(out, kind, **options)
    return out.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of that many grey pixels each way in few bytes, as its header says."""
    rows = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    body = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64_of(data)}"


def image_part(data: bytes | str, **more: Any) -> dict[str, Any]:
    """Of a chat."""
    url = data if isinstance(data, str) else data_url(data)
    return {"type": "image_url", "image_url": {"url": url, **more}}


def user(*parts: Any) -> list[dict[str, Any]]:
    """One message: texts and parts in their order."""
    said = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return [{"role": "user", "content": said}]
