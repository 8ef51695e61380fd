"""The hub's address as it may be told: HF_ENDPOINT may hold a mirror's user and password."""

import re

from huggingface_hub import constants

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def hub_address() -> str:
    """Without them."""
    return without_credentials(constants.ENDPOINT)


def without_credentials(text: str) -> str:
    """A library's words, and its addresses without who asks."""
    return _CREDENTIALS.sub("", text)
