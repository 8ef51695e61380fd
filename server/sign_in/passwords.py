"""Passwords, hashed with argon2id (RFC 9106's second recommendation: 64 MiB) and compared."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LEAST: Final = 12
MOST: Final = 256
AT_ONCE: Final = 2
"""Hashes of 64 MiB each."""
MOST_WAITING: Final = 30
"""A few seconds' worth."""


class PasswordRefused(Exception):
    """The message says what would be right."""


class PasswordsBusy(Exception):
    """More sign in at once than can be served soon."""


def check_password(password: str, again: str, *words: str | None) -> None:
    """`words`: what it may not be: its member's name, its address. Raises PasswordRefused."""
    if not LEAST <= len(password) <= MOST:
        raise PasswordRefused(f"A password has from {LEAST} to {MOST} characters.")
    if password != again:
        raise PasswordRefused("The two passwords are not the same.")
    if len(set(password)) < 4:
        raise PasswordRefused("A password has at least 4 different characters.")
    if password.casefold() in {word.casefold() for word in words if word}:
        raise PasswordRefused("A password is neither a name nor an address.")


class Passwords:
    """Belongs to one event loop; hashes on worker threads, two at once."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._asking = 0

    def check_room(self) -> None:
        """Raises PasswordsBusy, as do all that hash."""
        if self._asking >= AT_ONCE + MOST_WAITING:
            raise PasswordsBusy

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        self.check_room()
        self._asking += 1
        try:
            async with self._turns:
                yield
        finally:
            self._asking -= 1

    async def hashed(self, password: str) -> str:
        async with self._turn():
            return await asyncio.to_thread(self._hasher.hash, password)

    async def fitting(self, password: str, hashes: Iterable[tuple[str, str]]) -> str | None:
        """Whose of (id, hash) it is. As long as one hash takes where there are none."""
        found = None
        async with self._turn():
            for member_id, hashed in [*hashes] or [("", "")]:
                if await asyncio.to_thread(self._fits, hashed, password):
                    found = found or member_id
        return found or None

    def is_outdated(self, hashed: str) -> bool:
        """Hashed with less than is done now."""
        return self._hasher.check_needs_rehash(hashed)

    def _fits(self, hashed: str, password: str) -> bool:
        """Of an empty hash: of somebody who is not there."""
        try:
            return self._hasher.verify(hashed or self._nobodys, password)
        except (VerificationError, InvalidHashError):
            return False

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("nobody has this one")
