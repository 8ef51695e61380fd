"""What a front and the node that it asks say to each other, in msgpack."""

import struct
from array import array
from collections.abc import Iterator, Sequence
from math import inf
from typing import Annotated, Any, Final

import msgspec

from engines.base import Delta, Embedding, GenerateRequest, PairOptions, Sampling, Score, TextPair
from engines.content import Picture
from engines.truncation import Truncation
from server.fairness.turn import ServiceClass
from server.peers.huge_integers import HugeInteger, with_huge_integers

PROTOCOL: Final = 2
"""Another one for other bytes: servers that differ do not ask each other."""
PATH: Final = "/peer/v1/"
MOST_FRAME: Final = 256 * 2**20
"""Bytes of a frame, and of a question and its answer: more than any request that a front takes."""
_PICTURE, _INTEGER = 1, 2
_HEAD: Final = struct.Struct("<IBI")
PLAIN, FULL, END, ERROR, GONE, OPENED, REPLY, RENDER, GENERATE, ABORT, LET_GO, PLACE = range(12)
"""Kinds of frames: of what is generated the first two, then how it ended; GONE: its prompt was kept
no longer. OPENED says nothing more than that the channel is. RENDER, GENERATE, ABORT and LET_GO a
front says; the last, that it will not have a prompt generated, whose handle is its payload. PLACE:
where a request waits for its turn, until its first delta."""


class Asker(msgspec.Struct, array_like=True, frozen=True):
    """For whom a front asks, so that a node orders those who wait as it does its own."""

    owner: str
    key_id: str
    service_class: ServiceClass = "standard"
    trace: tuple[str, str] = ("", "")
    """The traceparent and tracestate of what the front does for it; "": nobody traces it."""


class OpenCall(msgspec.Struct, array_like=True, frozen=True):
    """Is it there? It is loaded where it is not."""

    alias: str
    patience_s: float


class OpenedAlias(msgspec.Struct, array_like=True, frozen=True):
    context_tokens: int
    process: str
    """Of the node: another one after its restart."""


class RenderCall(msgspec.Struct, array_like=True, frozen=True):
    alias: str
    request: GenerateRequest
    asker: Asker
    patience_s: float
    goes_on: bool = False
    """Where it fits, the node generates it as it stands, under the same number: a way there and
    back less. A front that decides otherwise meanwhile aborts it."""


class RenderedPrompt(msgspec.Struct, array_like=True, frozen=True):
    """The node keeps the prompt for a few seconds, under `held`; "": it generates it already."""

    held: str
    token_ids: bytes
    """Of 4 bytes each, little-endian."""
    language: str | None
    """Of a recording's speech, as it was found in it."""


class GenerateCall(msgspec.Struct, array_like=True, frozen=True):
    """What the front has decided since; all else stands in the request that was rendered."""

    held: str
    sampling: Sampling
    priority: int
    asker: Asker
    patience_s: float
    """So long the front's client will wait for all of it."""


class EmbedCall(msgspec.Struct, array_like=True, frozen=True):
    alias: str
    request_id: str
    inputs: list[str | list[int]]
    truncation: Truncation | None
    cache_salt: str | None
    asker: Asker
    patience_s: float


class Vector(msgspec.Struct, array_like=True, frozen=True):
    """float32, little-endian."""

    values: bytes
    prompt_tokens: int
    cached_tokens: int


class ScoreCall(msgspec.Struct, array_like=True, frozen=True):
    alias: str
    request_id: str
    pairs: list[TextPair]
    options: PairOptions
    cache_salt: str | None
    asker: Asker
    patience_s: float


class Pulse(msgspec.Struct, array_like=True, frozen=True):
    """Of a node that lives."""

    process: str
    is_drained: bool
    away: list[str]
    """Aliases that no engine of it serves now."""


def _hook(value: Any) -> Any:
    if isinstance(value, Picture):
        told = (value.data, value.width, value.height, value.is_low, value.digest)
        return msgspec.msgpack.Ext(_PICTURE, msgspec.msgpack.encode(told))
    if isinstance(value, HugeInteger):
        return msgspec.msgpack.Ext(_INTEGER, value.to_bytes())
    raise NotImplementedError(f"{type(value).__name__} cannot be told to another server")


def _ext(code: int, data: memoryview) -> Any:
    if code == _INTEGER:
        return int.from_bytes(data, "little", signed=True)
    if code != _PICTURE:
        raise ValueError(f"extension {code} is not known")
    told = msgspec.msgpack.decode(data, type=tuple[bytes, int, int, bool, str])
    data_, width, height, is_low, digest = told
    return Picture(data_, width, height, is_low=is_low, sha256=digest.removesuffix("/low"))


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_hook)


def encode(value: Any) -> bytes:
    try:
        return _ENCODER.encode(value)
    except OverflowError:
        return _ENCODER.encode(with_huge_integers(value))


def decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind, ext_hook=_ext)


def packed_ids(token_ids: Sequence[int]) -> bytes:
    return array("I", token_ids).tobytes()


def unpacked_ids(data: bytes) -> Sequence[int]:
    found = array("I")
    found.frombytes(data)
    return found.tolist()


def told_vector(found: Embedding) -> Vector:
    values = array("f", found.vector).tobytes()
    return Vector(values, found.prompt_tokens, found.cached_tokens)


def heard_vector(told: Vector) -> Embedding:
    values = array("f")
    values.frombytes(told.values)
    return Embedding(
        vector=values.tolist(),
        prompt_tokens=told.prompt_tokens,
        cached_tokens=told.cached_tokens,
    )


VECTORS = decoder(list[Vector])
SCORES = decoder(list[Score])
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Plain = tuple[_Count, str, _Count, str, _Count]
_PLAIN = msgspec.msgpack.Decoder(_Plain)
_FULL = msgspec.msgpack.Decoder(Delta)


def frame(kind: int, number: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload), kind, number) + payload


def delta_frame(number: int, d: Delta) -> bytes:
    """Most have text and tokens alone: those are told without names."""
    if d.finish_reason is None and not (
        d.tool_calls or d.logprobs or d.cached_tokens or d.prompt_logprobs
    ):
        plain = (d.index, d.text, d.token_count, d.reasoning, d.reasoning_token_count)
        return frame(PLAIN, number, encode(plain))
    return frame(FULL, number, encode(d))


def heard_delta(kind: int, payload: bytes) -> Delta:
    if kind == FULL:
        found: Delta = _FULL.decode(payload)
        if min(found.index, found.token_count, found.cached_tokens) < 0:
            raise ValueError("a delta counts from nothing up")
        if not 0 <= found.gathered_s < inf:
            raise ValueError("nothing is gathered for less than no time, or for ever")
        return found
    index, text, tokens, reasoning, thought = _PLAIN.decode(payload)
    return Delta(
        index=index,
        text=text,
        token_count=tokens,
        reasoning=reasoning,
        reasoning_token_count=thought,
    )


class FrameReader:
    """Bytes as they come -> frames. Raises ValueError for one that is too long, or of no kind."""

    __slots__ = ("_most", "_needed", "_rest")

    def __init__(self, most_bytes: int = MOST_FRAME) -> None:
        """Of one frame."""
        self._most = most_bytes
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Kind, number, payload."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at = 0
        while len(data) - at >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(data, at)
            if length > self._most or kind > PLACE:
                raise ValueError("what came is no frame")
            end = at + _HEAD.size + length
            if end > len(data):
                self._needed = end - at
                break
            yield kind, number, data[at + _HEAD.size : end]
            at = end
        else:
            self._needed = 0
        self._rest += data[at:]
