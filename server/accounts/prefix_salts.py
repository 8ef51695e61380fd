"""What parts one owner's prompts from another's in an engine's prefix cache: a prompt that is found
there answers faster, and so would tell who asks what others have asked."""

import hashlib
import hmac
import secrets

from engines.registry.spec import ModelSpec

_SALT_BYTES = 16
_MOST_OWNERS = 16_384
"""That are remembered; beyond them all are made anew."""


class PrefixSalts:
    """Owner -> salt, by a secret that nobody sees and that lives as long as the engines do, which
    keep no prompt beyond their own end."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._known: dict[str, str] = {}

    def of(self, spec: ModelSpec, owner: str) -> str | None:
        """None where the model's owners share what is cached."""
        if spec.shares_prefix_cache:
            return None
        salt = self._known.get(owner)
        if salt is None:
            if len(self._known) >= _MOST_OWNERS:
                self._known.clear()
            salt = self._known[owner] = self._made(owner)
        return salt

    def _made(self, owner: str) -> str:
        made = hmac.new(self._secret, owner.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return made.hexdigest()[: 2 * _SALT_BYTES]
