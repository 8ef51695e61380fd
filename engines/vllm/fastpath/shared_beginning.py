"""A prompt whose beginning is everybody's in vLLM's prefix cache, and whose rest is its owner's.

vLLM salts a request's first block, and so all that follow: each block's hash is made of the one
before. `behind` says in the salt itself how many tokens come before it, and in the engine's process
`part_behind` has that block salted with which the rest begins. Where that cannot be done the whole
prompt is salted, with the same words: then nothing is shared, and nothing is told.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

_MARK: Final = "fjord-behind"
_SMALLEST_BLOCK: Final = 16
"""vLLM's, in tokens."""


def behind(shared_tokens: int, salt: str) -> str:
    """vLLM's `cache_salt`: all but the first so many tokens have the salt, to the last whole block
    of them."""
    shared = shared_tokens - shared_tokens % _SMALLEST_BLOCK
    return f"{_MARK}:{shared}:{salt}" if shared else salt


def part_behind(request: Any, block_tokens: int) -> None:
    """Hash the blocks of vLLM's Request anew, where its salt says so. Raises AttributeError where
    vLLM lacks one of the names."""
    given, hasher = request.cache_salt, request._block_hasher
    if given is None or hasher is None or not given.startswith(f"{_MARK}:"):
        return
    _, tokens, salt = given.split(":", 2)
    blocks = int(tokens) // block_tokens
    if blocks == 0:
        return
    request.cache_salt = None
    request._block_hasher = _SaltedBehind(hasher, blocks, salt.encode())
    request.block_hashes.clear()
    request.update_block_hashes()


class _SaltedBehind:
    """vLLM's hasher of a request's new blocks, the one behind `blocks` with the salt."""

    def __init__(self, hasher: Callable[[Any], list[bytes]], blocks: int, salt: bytes) -> None:
        self._hasher, self._blocks, self._salt = hasher, blocks, salt

    def __call__(self, request: Any) -> list[bytes]:
        hashes = request.block_hashes
        before = len(hashes)
        new = self._hasher(request)
        at = self._blocks - before
        if not 0 <= at < len(new):
            return new
        first = [*new[:at], self._salted(new[at])]
        hashes.extend(first)  # what follows is hashed with the last of these
        try:
            return [*first, *self._hasher(request)]
        finally:
            del hashes[before:]

    def _salted(self, block_hash: bytes) -> bytes:
        return hashlib.sha256(self._salt + block_hash).digest()[: len(block_hash)]
