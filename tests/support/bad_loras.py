"""LoRA GGUFs that llama.cpp does not take, each made of a good one: what is wrong -> its bytes."""

import struct
from collections.abc import Mapping

_QUERY = b"blk.0.attn_q.weight.lora_"


def bad_loras(good: bytes) -> Mapping[str, bytes]:
    return {
        "its adapter.lora.alpha is no 32-bit float": _behind(good, b"adapter.lora.alpha", 0, 4),
        "its adapter.lora.alpha is no": _behind(good, b"adapter.lora.alpha", 4, 0x7FC00000),
        "it has 'blk.0.attn_q.weight.lora_a' twice": good.replace(b"blk.1.attn_q", b"blk.0.attn_q"),
        "is of kind 4; right would be": _behind(good, _QUERY + b"a", 20, 4),
        "is of kind 26; right would be": _behind(good, _QUERY + b"a", 20, 26),
        "is of kind 99; right would be": _behind(good, _QUERY + b"b", 20, 99),
        "'blk.0.attn_q.weight.lora_b' lies at 0; right": _behind(good, _QUERY + b"b", 24, 0),
        "has no possible shape": _behind(good, _QUERY + b"a", 12, 0),
        "it says 'adapter.type' twice": good.replace(b"general.type", b"adapter.type"),
    }


def _behind(good: bytes, name: bytes, at: int, number: int) -> bytes:
    """32 bits `at` bytes behind a name are other ones. A tensor's are its dimensions, two sizes,
    kind and place."""
    place = good.index(name) + len(name) + at
    return good[:place] + struct.pack("<I", number) + good[place + 4 :]
