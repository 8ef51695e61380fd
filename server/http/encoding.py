"""Content-Encoding of a request's body -> the body itself, never more of it than the limit."""

import zlib
from collections.abc import Callable, Mapping

from server.errors import ApiError

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_WINDOW_BYTES = 8 * 2**20
_MOST_ENCODINGS = 2
"""One on the other; a client has no reason to send more."""


MOST_MEMBERS = 64
"""gzip members or zstd frames in a row: behind each the rest of the body is copied. An empty one
has 20 bytes, and 3 KB of them, packed twice, kept a thread for seconds."""


class _NotEncoded(Exception):
    """The body is not what its header says."""


class _TooManyMembers(Exception):
    """It may be, in more pieces than anybody needs."""


def decoded_body(encoding: bytes, body: bytes, limit: int) -> bytes:
    """What `encoding` made this body of. Raises ApiError: 415 for an encoding that is not ours, 413
    above `limit` bytes, 400 where the body is not so encoded."""
    names = [name.strip().lower() for name in encoding.decode("latin-1").split(",")]
    applied = [name for name in names if name not in ("", "identity")]
    if len(applied) > _MOST_ENCODINGS or not all(name in _DECODERS for name in applied):
        raise _unsupported(encoding)
    for name in reversed(applied):
        try:
            body = _DECODERS[name](body, limit)
        except (_NotEncoded, zlib.error):
            message = f"The body is not valid {name}, as its Content-Encoding says."
            raise ApiError.invalid(message, "Content-Encoding", name, name) from None
        except _TooManyMembers:
            most = f"at most {MOST_MEMBERS} members or frames"
            message = f"The body's {name} has more than {MOST_MEMBERS} members or frames."
            raise ApiError.invalid(message, "Content-Encoding", name, most) from None
        if len(body) > limit:
            raise too_large(limit)
    return body


def _inflated(body: bytes, limit: int) -> bytes:
    """Of one or several gzip members; of zlib's own form, or none at all, as some clients' deflate
    is."""
    out, members = bytearray(), 0
    while body and len(out) <= limit:
        members = _counted(members)
        stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        out += stream.decompress(body, limit + 1 - len(out))
        if len(out) <= limit and not stream.eof:
            raise _NotEncoded
        body = stream.unused_data
    return bytes(out)


def _deflated(body: bytes, limit: int) -> bytes:
    try:
        return _inflated(body, limit)
    except zlib.error:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        out = stream.decompress(body, limit + 1)
        if len(out) <= limit and not stream.eof:
            raise _NotEncoded from None
        return out


def _unpacked(body: bytes, limit: int) -> bytes:
    """Of one or several zstd frames. The window's bound keeps a small body from asking for much
    memory; the reader keeps to a length, but takes a body that was cut for a whole one."""
    from zstandard import ZstdDecompressor, ZstdError  # few clients send it

    unpacker = ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    try:
        with unpacker.stream_reader(body, read_across_frames=True) as reader:
            out = reader.read(limit + 1)
        frames = 0
        while body and len(out) <= limit:
            frames = _counted(frames)
            frame = unpacker.decompressobj()
            frame.decompress(body)
            body = _after(frame.eof, frame.unused_data)
    except ZstdError:
        raise _NotEncoded from None
    return out


def _counted(members: int) -> int:
    if members == MOST_MEMBERS:
        raise _TooManyMembers
    return members + 1


def _after(is_ended: bool, rest: bytes) -> bytes:
    if not is_ended:
        raise _NotEncoded
    return rest


_DECODERS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "gzip": _inflated,
    "x-gzip": _inflated,
    "deflate": _deflated,
    "zstd": _unpacked,
}
_ACCEPTED = "gzip, deflate, zstd"


def too_large(limit: int) -> ApiError:
    message = f"The request body is larger than the limit of {limit} bytes."
    return ApiError(413, "REQUEST_TOO_LARGE", message)


def _unsupported(encoding: bytes) -> ApiError:
    name = encoding.decode("latin-1")[:80]
    message = f"Content-Encoding is {name!r}; expected one of {_ACCEPTED}, or none."
    headers = {"Accept-Encoding": _ACCEPTED}
    return ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message, headers=headers)
