"""The scripted engine's vectors."""

import zlib
from collections.abc import Sequence

from engines.base import Embedding

_SIZE = 16


def embedding(ids: Sequence[int]) -> Embedding:
    raw = [sum(zlib.crc32(b"%d/%d" % (i, k)) % 1000 for i in ids) for k in range(_SIZE)]
    norm = sum(v * v for v in raw) ** 0.5 or 1.0
    return Embedding(vector=[v / norm for v in raw], prompt_tokens=len(ids))
