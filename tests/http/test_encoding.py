"""Encoded bodies: decoded within the limit of a body's size, and nothing else."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import httpx
import pytest
import zstandard

from server.errors import ApiError
from server.http.encoding import MOST_MEMBERS, decoded_body
from tests.support.serving import Served, scripted, server_of

ASK = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a b c"}]}).encode()
LIMIT = 100_000
MIB = 2**20
served = server_of(scripted("m"), settings={"max_body_bytes": LIMIT})


def raw_deflate(body: bytes) -> bytes:
    """Without zlib's head, as some clients understand the name."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def zstd_stream(body: bytes) -> bytes:
    """A frame that does not say its length, as a client's stream is."""
    packer = zstandard.ZstdCompressor().compressobj()
    return packer.compress(body) + packer.flush()


ENCODED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "case": ("GZip", gzip.compress),
    "members": ("gzip", lambda body: gzip.compress(body[:20]) + gzip.compress(body[20:])),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd),
    "zstd stream": ("zstd", zstd_stream),
    "frames": ("zstd", lambda body: zstd(body[:20]) + zstd_stream(body[20:])),
    "two": ("gzip, zstd", lambda body: zstd(gzip.compress(body))),
    "identity": ("identity", bytes),
}
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: gzip.compress(bytes(64 * MIB))),
    "gzip members": ("gzip", lambda: gzip.compress(b"x" * 10_000) * 60),
    "deflate": ("deflate", lambda: zlib.compress(bytes(64 * MIB))),
    "raw deflate": ("deflate", lambda: raw_deflate(bytes(64 * MIB))),
    "zstd": ("zstd", lambda: zstd(bytes(64 * MIB))),
    "zstd stream": ("zstd", lambda: zstd_stream(bytes(64 * MIB))),
    "zstd frames": ("zstd", lambda: zstd(b"x" * 10_000) * 60),
    "two": ("gzip, gzip", lambda: gzip.compress(gzip.compress(bytes(64 * MIB)))),
}


def post(
    server: Served, encoding: str, body: bytes, path: str = "chat/completions"
) -> httpx.Response:
    headers = server.headers | {"Content-Encoding": encoding, "Content-Type": "application/json"}
    return httpx.post(f"{server.url}/v1/{path}", headers=headers, content=body)


@pytest.mark.parametrize("case", ENCODED)
def test_an_encoded_body_is_served(served: Served, case: str) -> None:
    encoding, encode = ENCODED[case]
    assert post(served, encoding, encode(ASK)).status_code == 200


def test_every_endpoint_takes_them(served: Served) -> None:
    for path, body in {
        "responses": {"model": "m", "input": "a"},
        "completions": {"model": "m", "prompt": "a"},
        "tokenize": {"model": "m", "prompt": "a"},
    }.items():
        assert post(served, "gzip", gzip.compress(json.dumps(body).encode()), path).is_success


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_413_and_costs_little_memory(served: Served, case: str) -> None:
    encoding, make = BOMBS[case]
    body = make()
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match="larger than the limit") as refused:
            decoded_body(encoding.encode(), body, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413
    if len(body) <= LIMIT:
        assert post(served, encoding, body).status_code == 413


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, br", "aes128gcm", "gzip," * 9])
def test_another_encoding_is_415_and_says_what_is_right(served: Served, encoding: str) -> None:
    answer = post(served, encoding, ASK)
    assert answer.status_code == 415
    assert "gzip, deflate, zstd" in answer.json()["error"]["message"]
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("spoil", [lambda body: ASK, lambda body: body[:-9]], ids=["plain", "cut"])
def test_a_body_that_is_not_so_encoded_is_400(
    served: Served, encoding: str, spoil: Callable[[bytes], bytes]
) -> None:
    answer = post(served, encoding, spoil(ENCODED[encoding][1](ASK)))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Content-Encoding"


@pytest.mark.parametrize(
    ("name", "member"),
    [("gzip", gzip.compress(b"")), ("deflate", zlib.compress(b"")), ("zstd", zstd_stream(b""))],
    ids=["gzip", "deflate", "zstd"],
)
def test_empty_members_in_a_row_are_refused_before_they_cost_time(
    served: Served, name: str, member: bytes
) -> None:
    """Each copied the rest of the body: 3 KB of them, packed twice, took seconds."""
    many = gzip.compress(member * 400_000)
    headers = served.headers | {"Content-Encoding": f"{name}, gzip"}
    with pytest.raises(ApiError, match=f"more than {MOST_MEMBERS} members"):
        decoded_body(f"{name}, gzip".encode(), many, 8 * MIB)
    answer = httpx.post(
        served.url + "/v1/chat/completions",
        headers=headers,
        content=gzip.compress(member * 2_000),
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "Content-Encoding"
    assert decoded_body(name.encode(), member * MOST_MEMBERS, LIMIT) == b""


def test_several_header_lines_are_one_list(served: Served) -> None:
    lines = [*served.headers.items(), ("Content-Encoding", "zstd"), ("Content-Encoding", "gzip")]
    url = served.url + "/v1/chat/completions"
    answer = httpx.post(url, headers=lines, content=gzip.compress(zstd(ASK)))
    assert answer.status_code == 200
